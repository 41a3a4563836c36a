/** QEMU's monitor protocol: one command at a time on the wire, answers by id, events as they come. */
import { EventEmitter } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { z } from 'zod';
import { PandoError } from '#contracts/errors.ts';
import { monitorCallsInFlightMax, monitorCallTimeoutMs, monitorLineBytesMax } from './limits.ts';

const message = z.looseObject({
  QMP: z.looseObject({ capabilities: z.array(z.string()).optional() }).optional(),
  id: z.number().optional(),
  return: z.unknown().optional(),
  error: z.object({ class: z.string(), desc: z.string() }).optional(),
  event: z.string().optional(),
  data: z.record(z.string(), z.unknown()).optional(),
});

/** Something that happened in the VMM, e.g. `SHUTDOWN` with `{ guest: true }`. */
export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The VMM's own refusal of a command. */
export class QmpError extends Error {
  readonly command: string;
  constructor(command: string, description: string) {
    super(`${command}: ${description}`);
    this.command = command;
  }
}

interface Pending {
  readonly command: string;
  readonly timer: NodeJS.Timeout;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

type QmpEvents = { event: [QmpEvent]; close: [] };

export class Qmp extends EventEmitter<QmpEvents> {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  #text = '';
  #nextId = 1;
  #greeted: ((capabilities: readonly string[]) => void) | undefined;
  #outOfBand = false;
  #closed = false;

  private constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#onData(text));
    socket.on('error', () => this.close());
    socket.on('close', () => this.close());
  }

  /** Connects, waits for the greeting and negotiates. Fails with `NotReady` when the VMM does not answer in time. */
  static async connect(path: string, timeoutMs: number): Promise<Qmp> {
    const socket = createConnection(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (cause) =>
        reject(new PandoError('NotReady', 'The VMM has no monitor yet.', { cause })),
      );
    });
    const qmp = new Qmp(socket);
    try {
      const offered = await qmp.#greeting(timeoutMs);
      const enable = offered.filter((capability) => capability === 'oob');
      await qmp.execute('qmp_capabilities', { enable }, timeoutMs);
      qmp.#outOfBand = enable.length > 0;
      return qmp;
    } catch (error) {
      qmp.close();
      throw error;
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Runs one command. Errors: {@link QmpError} from the VMM; `NotReady` when the monitor is gone; `DeadlineExceeded`. */
  execute(command: string, args: object = {}, timeoutMs = monitorCallTimeoutMs): Promise<unknown> {
    return this.#send('execute', command, args, timeoutMs);
  }

  /** Like {@link execute}, past those that the VMM is still busy with: for the few commands that QEMU takes out of band. */
  executeOutOfBand(command: string, args: object = {}): Promise<unknown> {
    return this.#send(this.#outOfBand ? 'exec-oob' : 'execute', command, args, monitorCallTimeoutMs);
  }

  #send(verb: 'execute' | 'exec-oob', command: string, args: object, timeoutMs: number): Promise<unknown> {
    if (this.#closed) return Promise.reject(new PandoError('NotReady', `${command}: the VMM is gone.`));
    if (this.#pending.size >= monitorCallsInFlightMax)
      return Promise.reject(new PandoError('RequestLimitExceeded', 'Too many monitor commands are waiting.'));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(
          new PandoError(
            'DeadlineExceeded',
            `The VMM did not answer ${command} in ${Math.ceil(timeoutMs)} ms.`,
          ),
        );
      }, timeoutMs);
      this.#pending.set(id, { command, timer, resolve, reject });
      this.#socket.write(`${JSON.stringify({ [verb]: command, arguments: args, id })}\n`);
    });
  }

  /** Runs one command and checks the shape of its answer. */
  async query<T>(shape: z.ZodType<T>, command: string, args: object = {}): Promise<T> {
    return shape.parse(await this.execute(command, args));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(new PandoError('NotReady', `${pending.command}: the VMM is gone.`));
    }
    this.#pending.clear();
    this.emit('close');
  }

  /** The capabilities that the VMM offers. */
  #greeting(timeoutMs: number): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      const late = (): void => reject(new PandoError('NotReady', 'The VMM did not greet.'));
      const timer = setTimeout(late, timeoutMs);
      this.once('close', late);
      this.#greeted = (capabilities) => {
        clearTimeout(timer);
        this.off('close', late);
        resolve(capabilities);
      };
    });
  }

  #onData(text: string): void {
    this.#text += text;
    if (this.#text.length > monitorLineBytesMax) {
      this.close();
      return;
    }
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      const line = this.#text.slice(0, end).trim();
      this.#text = this.#text.slice(end + 1);
      if (line !== '') this.#onLine(line);
    }
  }

  /** The VMM runs a tenant's code: what it says is checked like any outsider's words. */
  #onLine(line: string): void {
    let parsed: z.infer<typeof message>;
    try {
      parsed = message.parse(JSON.parse(line));
    } catch {
      this.close();
      return;
    }
    if (parsed.QMP !== undefined) this.#greeted?.(parsed.QMP.capabilities ?? []);
    if (parsed.event !== undefined) this.emit('event', { name: parsed.event, data: parsed.data ?? {} });
    if (parsed.id === undefined) return;
    const pending = this.#pending.get(parsed.id);
    if (pending === undefined) return;
    this.#pending.delete(parsed.id);
    clearTimeout(pending.timer);
    if (parsed.error !== undefined) pending.reject(new QmpError(pending.command, parsed.error.desc));
    else pending.resolve(parsed.return);
  }
}
