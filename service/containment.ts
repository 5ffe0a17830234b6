import { becomeUser, dropCapabilities, setDumpable, setNoNewPrivileges } from '../native/hardening.ts';

/** Debian's nobody and nogroup: for a service that somebody started as root. */
const NOBODY = 65534;

/**
 * Gives up everything that serving a file system does not need. Called before the first byte is taken
 * from the socket; a service manager has usually done the same and more already.
 */
export function containProcess(): void {
  process.chdir('/');
  setNoNewPrivileges();
  if (process.getuid?.() === 0) becomeUser(NOBODY, NOBODY);
  dropCapabilities();
  setDumpable(false);
}
