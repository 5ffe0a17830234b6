#include "arguments.h"

#include <cmath>

namespace {

bool TakeText(const Napi::Value& value, std::string* text) {
  if (!value.IsString()) return false;
  *text = value.As<Napi::String>().Utf8Value();
  return text->find('\0') == std::string::npos;
}

}  // namespace

void Arguments::Reject(const char* name, const std::string& expected) {
  if (invalid_) return;
  invalid_ = true;
  const std::string text = std::string(function_) + ": " + name + " must be " + expected;
  Napi::TypeError::New(Env(), text).ThrowAsJavaScriptException();
}

double Arguments::Integer(size_t index, const char* name, double least, double most) {
  double value = 0;
  const bool isNumber = napi_get_value_double(Env(), info_[index], &value) == napi_ok;
  if (isNumber && value >= least && value <= most && std::trunc(value) == value) return value;
  Reject(name, "an integer from " + std::to_string(static_cast<int64_t>(least)) + " to " +
                   std::to_string(static_cast<int64_t>(most)));
  return 0;
}

bool Arguments::Flag(size_t index, const char* name) {
  bool value = false;
  if (napi_get_value_bool(Env(), info_[index], &value) != napi_ok) Reject(name, "a boolean");
  return value;
}

std::string Arguments::Text(size_t index, const char* name) {
  std::string text;
  if (!TakeText(info_[index], &text)) Reject(name, "a string without NUL characters");
  return text;
}

std::vector<std::string> Arguments::Texts(size_t index, const char* name) {
  std::vector<std::string> texts;
  bool fits = info_[index].IsArray();
  const Napi::Array array = fits ? info_[index].As<Napi::Array>() : Napi::Array::New(Env());
  for (uint32_t i = 0; fits && i < array.Length(); i++) fits = TakeText(array.Get(i), &texts.emplace_back());
  if (!fits) Reject(name, "an array of strings without NUL characters");
  return texts;
}

Bytes Arguments::Uint8Array(size_t index, const char* name) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;
  const napi_status status =
      napi_get_typedarray_info(Env(), info_[index], &type, &length, &data, nullptr, nullptr);
  if (status == napi_ok && type == napi_uint8_array) return {static_cast<uint8_t*>(data), length};
  Reject(name, "a Uint8Array");
  return {};
}

const double* Arguments::Float64Array(size_t index, const char* name, size_t* count) {
  napi_typedarray_type type = napi_int8_array;
  void* data = nullptr;
  const napi_status status = napi_get_typedarray_info(Env(), info_[index], &type, count, &data, nullptr, nullptr);
  if (status == napi_ok && type == napi_float64_array) return static_cast<const double*>(data);
  *count = 0;
  Reject(name, "a Float64Array");
  return nullptr;
}

Napi::Function Arguments::Callback(size_t index, const char* name) {
  if (info_[index].IsFunction()) return info_[index].As<Napi::Function>();
  Reject(name, "a function");
  return {};
}
