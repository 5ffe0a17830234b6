import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
const CODE = /\.(ts|mts|mjs|cjs|c|cc|h)$/;
const SCRIPT = /\.(ts|mts|mjs)$/;
const PRODUCT = ['shared', 'native', 'helper', 'service', 'ctl'];
const TESTS = ['test'];
const ALL = [...PRODUCT, ...TESTS, 'bench', 'scripts'];

const LINE_CHARACTERS_MAX = 120;
/** What a person can hold in mind at once; a longer file has two concepts. */
const FILE_LINES_MAX = 450;

interface Rule {
  /** Goes on from "the code". */
  readonly name: string;
  readonly banned: RegExp;
  readonly instead: string;
  readonly rooms: readonly string[];
  /** Files that may: each is the replacement itself, or has no other way. */
  readonly except?: readonly string[];
}

/** This file names what it looks for. */
const SELF = 'test/unit/house-rules.test.ts';

const RULES: readonly Rule[] = [
  {
    name: "reads no integers with Buffer's methods",
    banned: /\.(read|write)(Big)?U?Int(8|16|32|64)?(LE|BE)?\(/,
    instead: 'the helpers of shared/bytes.ts, whose names say width and byte order',
    rooms: PRODUCT,
  },
  {
    name: 'keeps 64-bit values out of BigInt',
    banned: /\.[gs]etBig(Int|Uint)64\(|\bBigInt\(|\b\d+n\b/,
    instead: 'numbers below 2^53 (u64ne), or a low and a high half',
    rooms: PRODUCT,
  },
  {
    name: 'says the byte order of every integer',
    banned: /\.[gs]et(Uint|Int|Float)(8|16|32|64)\(/,
    instead: 'the helpers of shared/bytes.ts: a bare access hides its byte order',
    rooms: PRODUCT,
    except: ['shared/bytes.ts'],
  },
  {
    name: 'makes one view per buffer',
    banned: /\bnew DataView\((?!new ArrayBuffer\(0\)\))/,
    instead: 'viewOf of shared/bytes.ts, once per buffer',
    rooms: PRODUCT,
    except: ['shared/bytes.ts'],
  },
  {
    name: 'has no hole in its types',
    banned: /\bas any\b|: any\b|<any>|\bas unknown as\b|@ts-(ignore|expect-error|nocheck)/,
    instead: 'the real type, or unknown and a check',
    rooms: ALL,
  },
  {
    name: 'leaves the end of the process to the program',
    banned: /\bprocess\.exit\(/,
    instead: 'process.exitCode or a return value; only a program ends itself',
    rooms: PRODUCT,
    except: ['service/fuse4fs.ts', 'ctl/fuse4fsctl.ts', 'helper/fuservicemount.ts'],
  },
  {
    name: 'logs by its own log',
    banned: /\bconsole\./,
    instead: 'the log of shared/log.ts or the report of helper/report.ts',
    rooms: PRODUCT,
  },
  {
    name: 'keeps clocks and chance out of engine and session',
    banned: /\b(Date\.now|new Date|performance\.now|Math\.random|setTimeout|setInterval)\b/,
    instead: 'a clock that the program hands in: the engine and the session must be repeatable',
    rooms: ['service/ext4', 'service/fuse', 'service/iomap', 'service/ops'],
  },
  {
    name: 'skips no test and runs no test alone',
    banned: /\.(only|skip|skipIf|runIf|todo|fails)\(|\b[xf](it|test|describe)\(/,
    instead: 'a test that fails and says what is missing',
    rooms: TESTS,
  },
  {
    name: 'waits for events and never for time to pass',
    banned: /\bsetTimeout\b|\bAtomics\.wait\(|\bpauseThread\(|['"`]sleep['"` ]/,
    instead: 'an event of what is waited for, with a limit: within() of test/support/supervised-process.ts',
    rooms: TESTS,
    except: ['test/support/supervised-process.ts'],
  },
];

/** All code of a room, as paths from the root of the repository. */
function codeIn(room: string): string[] {
  return readdirSync(join(ROOT, room), { recursive: true, withFileTypes: true })
    .filter((found) => found.isFile() && CODE.test(found.name))
    .map((found) => relative(ROOT, join(found.parentPath, found.name)))
    .filter((path) => path !== SELF);
}

const linesOf = (path: string): string[] => readFileSync(join(ROOT, path), 'utf8').split('\n');

/** Comments may name what code must not do. */
const isComment = (line: string): boolean => /^\s*(\/\/|\/?\*)/.test(line);

function violations(rule: Rule): string[] {
  return rule.rooms
    .flatMap(codeIn)
    .filter((path) => SCRIPT.test(path) && rule.except?.includes(path) !== true)
    .flatMap((path) =>
      linesOf(path).flatMap((line, index) =>
        rule.banned.test(line) && !isComment(line) ? [`${path}:${index + 1}: ${line.trim()}: use ${rule.instead}`] : [],
      ),
    );
}

describe('the code', () => {
  it('is found by these tests', () => {
    for (const room of ALL) expect(codeIn(room)).not.toEqual([]);
  });

  it(`has no line of more than ${LINE_CHARACTERS_MAX} characters`, () => {
    const tooLong = ALL.flatMap(codeIn).flatMap((path) =>
      linesOf(path).flatMap((line, index) =>
        line.length > LINE_CHARACTERS_MAX ? [`${path}:${index + 1}: ${line.length} characters: wrap it`] : [],
      ),
    );
    expect(tooLong).toEqual([]);
  });

  it(`has no file of more than ${FILE_LINES_MAX} lines in the programs`, () => {
    const tooLong = PRODUCT.flatMap(codeIn)
      .map((path) => ({ path, lines: linesOf(path).length - 1 }))
      .filter(({ lines }) => lines > FILE_LINES_MAX)
      .map(({ path, lines }) => `${path}: ${lines} lines: move its second concept to a file of its own`);
    expect(tooLong).toEqual([]);
  });

  it.each(RULES.map((rule) => [rule.name, rule] as const))('%s', (_name, rule) => {
    expect(violations(rule)).toEqual([]);
  });
});
