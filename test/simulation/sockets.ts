/** Ends of simulated connections, as far as what production code does with `net`, `tls` and `http` sockets. */
import { X509Certificate } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import type { Network, Parcel } from './network.ts';
import type { SimProcess } from './world.ts';

interface SocketOptions {
  readonly secure?: boolean;
  /** PEM: whose identity the other end is shown. */
  readonly cert?: string | undefined;
}

const namesInCertificates = new Map<string, string>();

const namesIn = (cert: string | undefined): string | undefined => {
  if (cert === undefined) return undefined;
  const known = namesInCertificates.get(cert);
  if (known !== undefined) return known;
  const names = new X509Certificate(cert).subjectAltName ?? '';
  namesInCertificates.set(cert, names);
  return names;
};

export class SimSocket extends Duplex {
  readonly process: SimProcess;
  readonly #network: Network;
  readonly #options: SocketOptions;
  /** What is on its way to here, in order. */
  readonly inbox: { readonly parcel: Parcel; readonly from: string; readonly isStream: boolean }[] = [];
  peer: SimSocket | undefined;
  authorized = true;
  remoteAddress = '';
  readonly #died = (): void => {
    if (this.peer !== undefined) this.#network.send(this, this.peer, { kind: 'reset' });
  };

  constructor(network: Network, options: SocketOptions = {}) {
    super({ allowHalfOpen: false });
    this.#network = network;
    this.#options = options;
    this.process = network.world.current;
    this.process.onEnd.add(this.#died);
  }

  /** Whether it carries frames of calls. */
  get isStream(): boolean {
    return this.#options.secure === true;
  }

  connect(port: number, host: string): this {
    this.remoteAddress = host;
    this.#network.dial(this, `${host}:${port}`);
    return this;
  }

  /** The other end of `dialled`, at a server. */
  static accepted(network: Network, dialled: SimSocket, cert: string | undefined): SimSocket {
    const own = new SimSocket(network, { secure: dialled.isStream, cert });
    own.peer = dialled;
    own.remoteAddress = dialled.process.name;
    dialled.peer = own;
    return own;
  }

  connected(): void {
    if (!this.destroyed) this.emit(this.isStream ? 'secureConnect' : 'connect');
  }

  refused(address: string): void {
    this.destroy(Object.assign(new Error(`connect ECONNREFUSED ${address}`), { code: 'ECONNREFUSED' }));
  }

  arrive(parcel: Parcel): void {
    if (this.destroyed) return;
    if (parcel.kind === 'bytes') this.push(parcel.bytes);
    else if (parcel.kind === 'end') this.push(null);
    else {
      this.peer = undefined;
      this.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
    }
  }

  getPeerCertificate(): { subjectaltname?: string | undefined } {
    return { subjectaltname: namesIn(this.peer?.cert) };
  }

  get cert(): string | undefined {
    return this.#options.cert;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  setTimeout(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  override _read(): void {
    // What arrives is pushed.
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#send({ kind: 'bytes', bytes: chunk });
    done();
  }

  /** What was corked goes as one: a frame is a parcel. */
  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    const [first] = chunks;
    const one = chunks.length === 1 && first !== undefined;
    this.#send({ kind: 'bytes', bytes: one ? first.chunk : Buffer.concat(chunks.map(({ chunk }) => chunk)) });
    done();
  }

  override _final(done: () => void): void {
    this.#send({ kind: 'end' });
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.process.onEnd.delete(this.#died);
    this.#send({ kind: 'reset' });
    this.peer = undefined;
    done(error);
  }

  /** The dead send nothing. */
  #send(parcel: Parcel): void {
    if (this.peer !== undefined && this.process.state !== 'dead') this.#network.send(this, this.peer, parcel);
  }
}

interface ServerOptions {
  readonly cert?: string | undefined;
  onSecure?(socket: SimSocket): void;
}

export class SimServer extends EventEmitter {
  readonly process: SimProcess;
  readonly #network: Network;
  readonly #options: ServerOptions;
  #address: { readonly key: string; readonly port: number } | undefined;

  constructor(network: Network, options: ServerOptions) {
    super();
    this.#network = network;
    this.#options = options;
    this.process = network.world.current;
  }

  listen(port: number, host: string, listens?: () => void): this {
    this.#address = { key: `${host}:${port}`, port };
    this.#network.register(this.#address.key, this);
    this.process.onEnd.add(() => this.#leave());
    if (listens !== undefined) setImmediate(listens);
    return this;
  }

  address(): { port: number } {
    return { port: this.#address?.port ?? 0 };
  }

  setSecureContext(): void {
    // The certificate of the process stays: its life is short.
  }

  close(closed?: () => void): this {
    this.#leave();
    if (closed !== undefined) setImmediate(closed);
    return this;
  }

  /** Called in this server's process. */
  accept(dialled: SimSocket): void {
    const socket = SimSocket.accepted(this.#network, dialled, this.#options.cert);
    this.emit('connection', socket);
    this.#options.onSecure?.(socket);
  }

  #leave(): void {
    if (this.#address !== undefined) this.#network.unregister(this.#address.key, this);
  }
}
