/**
 * Files of the running system that a mount helper may hand to its service though nobody named them: through one the
 * service learns that memory is short, through the other it tells the service manager how it is.
 */
export const MEMORY_PRESSURE_PATH = '/proc/pressure/memory';
export const NOTIFY_SOCKET_PATH = '/run/systemd/notify';

/** The memory pressure of a control group that systemd has made for one of our services. */
const SERVICE_PRESSURE = /^\/sys\/fs\/cgroup(\/[\w@:\\-][\w@:.\\-]*)*\/fuse4fs@[\w@:.\\-]+\.service\/memory\.pressure$/;

export function isPressureFile(path: string): boolean {
  return path === MEMORY_PRESSURE_PATH || SERVICE_PRESSURE.test(path);
}
