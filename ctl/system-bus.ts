import type { EventEmitter } from 'node:events';
import { systemBus as connectToSystemBus, Message, type MessageBus, Variant } from '@jellybrick/dbus-next';

/** What is asked of the system's D-Bus. */
export interface SystemBus {
  /** The body of the answer. Rejects when there is none, or an error. */
  call(request: BusCall): Promise<readonly unknown[]>;
  close(): void;
}

export interface BusCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** Types of the arguments. */
  readonly signature: string;
  readonly body: readonly unknown[];
}

/** A bus that is there answers at once. */
const PATIENCE_MS = 5_000;

/** The connection is made behind this: a bus that isn't there is found by the first call. */
export function openSystemBus(): SystemBus {
  const bus = connectToSystemBus();
  const broken = new Promise<never>((_, reject) => {
    const events: EventEmitter = bus;
    events.on('error', (error: unknown) => reject(error instanceof Error ? error : new Error(String(error))));
  });
  broken.catch(() => {});
  return {
    call: (request) => within(Promise.race([callOn(bus, request), broken])),
    close: () => bus.disconnect(),
  };
}

async function callOn(bus: MessageBus, request: BusCall): Promise<readonly unknown[]> {
  const answer = await bus.call(new Message({ ...request, body: [...request.body] }));
  return (answer?.body ?? []).map(plain);
}

/** Without the library's wrappers: dictionaries of variants become records of values. */
function plain(value: unknown): unknown {
  if (value instanceof Variant) return plain(value.value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null || value.constructor !== Object) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]));
}

async function within<Result>(answer: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the system bus does not answer')), PATIENCE_MS);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
