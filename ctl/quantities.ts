const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** "3d 04h", "2h 05m", "1m 07s": the two largest parts. */
export function durationText(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const first = parts.findIndex((part) => part > 0);
  if (first < 0 || first === 3) return `${whole}s`;
  const small = String(parts[first + 1]).padStart(2, '0');
  return `${parts[first]}${'dhm'[first]} ${small}${'hms'[first]}`;
}

/** In percent; of nothing, '-'. */
export function shareText(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`;
}
