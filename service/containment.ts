import {
  becomeUser,
  denyOutsideAccess,
  dropCapabilities,
  restrictSystemCalls,
  setDumpable,
  setNoNewPrivileges,
} from '../native/hardening.ts';

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

/**
 * Nothing is opened from here on: what the process holds is all it will ever have. Called when the last descriptor has
 * arrived, before the first byte of the file system is looked at.
 */
export function sealProcess(): void {
  denyOutsideAccess();
  restrictSystemCalls();
}
