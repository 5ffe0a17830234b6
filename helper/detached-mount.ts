import { closeSync } from 'node:fs';
import {
  contextMessages,
  createSuperblock,
  detachedMount,
  openContext,
  setContextFlag,
  setContextString,
} from '../native/mount-api.ts';
import { Errno, errnoOf } from '../shared/errno.ts';
import { MS_FLAGS, TIME_FLAGS } from '../shared/service-protocol/ms-flags.ts';
import type { KernelOption } from './kernel-options.ts';
import type { MountPoint } from './mount-point.ts';
import type { MountRequest } from './mount-request.ts';
import type { Report } from './report.ts';

const ALL_FLAGS = [...MS_FLAGS, ...TIME_FLAGS];

/** Whose mount it is: without allow_other, nobody else may look into it. */
export interface MountOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * A FUSE mount that is attached to nothing yet: its descriptor, or null when this kernel has no mount API that can
 * express it.
 */
export function detachedFuseMount(
  fuseFd: number,
  request: MountRequest,
  owner: MountOwner,
  report: Report,
): number | null {
  const context = openContextIfKnown(request.blockDevice ? 'fuseblk' : 'fuse');
  if (context === null) return null;
  try {
    if (!configureSubtype(context, request.subtype)) return null;
    configure(context, fuseFd, request, owner);
    createSuperblock(context);
    return detachedMount(context, mountAttributes(request.msFlags));
  } catch (error) {
    for (const message of contextMessages(context)) report.error(message);
    throw error;
  } finally {
    closeSync(context);
  }
}

function openContextIfKnown(type: string): number | null {
  try {
    return openContext(type);
  } catch (error) {
    if (errnoOf(error) === Errno.ENOSYS) return null;
    throw error;
  }
}

/** False on kernels without this parameter (before 5.8). */
function configureSubtype(context: number, subtype: string): boolean {
  try {
    setContextString(context, 'subtype', subtype);
    return true;
  } catch (error) {
    if ([Errno.EINVAL, Errno.ENOPARAM, Errno.EOPNOTSUPP].some((errno) => errno === errnoOf(error))) return false;
    throw error;
  }
}

function configure(context: number, fuseFd: number, request: MountRequest, owner: MountOwner): void {
  setContextString(context, 'source', request.source);
  for (const flag of ALL_FLAGS)
    if ((request.msFlags & flag.ms) !== 0 && flag.fsconfigFlag !== null) setContextFlag(context, flag.fsconfigFlag);
  for (const option of [...request.options, ...ownOptions(fuseFd, request.target, owner)])
    if (option.value === null) setContextFlag(context, option.key);
    else setContextString(context, option.key, option.value);
}

/** What every fuse mount needs; never taken from the service. */
export function ownOptions(fuseFd: number, target: MountPoint, owner: MountOwner): readonly KernelOption[] {
  return [
    { key: 'fd', value: String(fuseFd) },
    { key: 'rootmode', value: target.format.toString(8) },
    { key: 'user_id', value: String(owner.uid) },
    { key: 'group_id', value: String(owner.gid) },
  ];
}

function mountAttributes(msFlags: number): number {
  return ALL_FLAGS.reduce((bits, flag) => ((msFlags & flag.ms) === 0 ? bits : bits | flag.mountAttribute), 0);
}
