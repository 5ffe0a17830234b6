import { closeSync } from 'node:fs';
import { basename } from 'node:path';
import { splitMountOptions } from '../shared/mount-options.ts';
import { toByteString } from '../shared/service-protocol/byte-string.ts';
import { BrokerConnection } from './broker/connection.ts';
import { mounterForCaller } from './caller-mounter.ts';
import { type CommandLine, HelpRequest, isMountHelperName, parseCommandLine, UsageError } from './command-line.ts';
import { connectToService, serviceIsPresent, subtypeOf } from './connect.ts';
import { removeDeadMounts } from './dead-mounts.ts';
import { FUSE_CONF_PATH, readFuseConf } from './fuse-conf.ts';
import { runHelper } from './helper.ts';
import { failureText, stderrReport } from './report.ts';
import { unmountForCaller } from './unmount.ts';

/** mount(8)'s exit codes. Its 2, a system error, means "fall back to a driver outside the sandbox" to mount.fuse3. */
const Exit = Object.freeze({ OK: 0, USAGE: 1, FAILURE: 1, NO_SERVICE: 2, BUG: 4, MOUNT_FAILURE: 32 });

async function main(program: string, args: readonly string[]): Promise<number> {
  let line: CommandLine;
  try {
    line = parseCommandLine(program, args);
  } catch (error) {
    if (error instanceof HelpRequest) {
      process.stdout.write(error.message);
      return Exit.OK;
    }
    if (!(error instanceof UsageError)) throw error;
    stderrReport(program, false).error(error.message);
    return Exit.USAGE;
  }
  if (line.check) return serviceIsPresent(subtypeOf(line.type)) ? Exit.OK : Exit.FAILURE;
  if (line.unmount)
    return unmountForCaller(line.words[0], line.lazy, stderrReport(program, line.verbose)) ? Exit.OK : Exit.FAILURE;
  if (line.reap) return (await removeDeadMounts(stderrReport(program, line.verbose))) ? Exit.OK : Exit.FAILURE;
  if (asksForRemount(line.words)) {
    stderrReport(program, false).error('remounting is not supported: unmount, and mount with the other options');
    return isMountHelperName(program) ? Exit.MOUNT_FAILURE : Exit.USAGE;
  }
  const status = mountThroughService(program, line);
  return status === Exit.OK || !isMountHelperName(program) ? status : Exit.MOUNT_FAILURE;
}

/** The kernel would take new flags, and the service never learn of them. */
function asksForRemount(words: readonly string[]): boolean {
  const list = words.at(-2) === '-o' ? toByteString(words.at(-1) ?? '') : toByteString('');
  return splitMountOptions(list).some((option) => option.name === 'remount');
}

function mountThroughService(program: string, line: CommandLine): number {
  const report = stderrReport(program, line.verbose);
  // A setuid Node would hand root to whoever sets its environment.
  if (process.getuid?.() !== process.geteuid?.()) {
    report.error('must not be installed setuid');
    return Exit.FAILURE;
  }
  const subtype = subtypeOf(line.type);
  let broker: BrokerConnection | null;
  let socket: number | null;
  try {
    broker = process.getuid?.() === 0 ? null : BrokerConnection.open();
    socket = broker === null ? connectToService(subtype) : broker.connectToService(subtype);
  } catch (error) {
    report.error(failureText(error, subtype));
    return Exit.FAILURE;
  }
  if (socket === null) {
    report.error(`no safe filesystem driver for ${subtype} available`);
    return Exit.NO_SERVICE;
  }
  try {
    return runHelper({
      socket,
      subtype,
      words: line.words,
      mounter: mounterForCaller(report, broker),
      fuseConf: readFuseConf(FUSE_CONF_PATH, report),
      report,
      logHint: `the service's own messages are in its log: journalctl -u 'fuse4fs@*'`,
      fake: line.fake,
      updateMtab: line.updateMtab,
    });
  } finally {
    closeSync(socket);
  }
}

const program = basename(process.argv[1]);
main(program, process.argv.slice(2)).then(
  // A file system that was asked something and does not answer must not keep us.
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    process.stderr.write(`${program}: bug: ${error instanceof Error ? error.stack : error}\n`);
    process.exit(Exit.BUG);
  },
);
