/** A VM as its user sees it: its web page, its shell, its open and closed ports. */
import { connect } from 'node:net';
import { exec } from '#base/exec.ts';
import { sshOptions } from '#cli/commands/ssh.ts';
import { until } from './until.ts';

const pageTimeoutMs = 4_000;
const commandTimeoutMs = 120_000;

export class Guest {
  readonly address: string;
  readonly #keyFile: string;

  constructor(address: string, keyFile: string) {
    this.address = address;
    this.#keyFile = keyFile;
  }

  /** A page of the VM's web server over a connection of its own; undefined when it does not answer in time. */
  async page(path = '/', timeoutMs = pageTimeoutMs): Promise<string | undefined> {
    try {
      const response = await fetch(`http://${this.address}${path}`, {
        signal: AbortSignal.timeout(timeoutMs),
        headers: { connection: 'close' },
      });
      return response.ok ? await response.text() : undefined;
    } catch {
      return undefined;
    }
  }

  answers(): Promise<string> {
    return until(`the page of ${this.address}`, () => this.page());
  }

  /** Runs a command as root inside the VM and returns what it printed; a failure is a rejection. */
  async run(command: string, timeoutMs = commandTimeoutMs): Promise<string> {
    const args = [...sshOptions(this.#keyFile), '-o', 'BatchMode=yes', `root@${this.address}`, command];
    return (await exec('ssh', args, { timeoutMs })).stdout.trim();
  }

  /** The same, but a failing command gives undefined; that the shell itself works is checked. */
  async attempt(command: string): Promise<string | undefined> {
    const output = await this.run(`if out=$(${command}); then echo "ok:$out"; else echo failed:; fi`);
    return output.startsWith('ok:') ? output.slice(3) : undefined;
  }

  /** Waits until the VM accepts our key: it fetches it from the metadata service after its page is up. */
  async ready(): Promise<this> {
    await this.answers();
    await until(`a shell on ${this.address}`, () => this.run('true', 20_000).then(() => true));
    return this;
  }

  /** Whether a new connection to a port is accepted within `timeoutMs`. */
  accepts(port: number, timeoutMs = 3_000): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect({ host: this.address, port, timeout: timeoutMs });
      const done = (accepted: boolean) => (): void => {
        socket.destroy();
        resolve(accepted);
      };
      socket.once('connect', done(true)).once('timeout', done(false)).once('error', done(false));
    });
  }

  /** One counter of the VM's kernel, e.g. `Udp`, `NoPorts`. */
  async counter(protocol: string, name: string): Promise<number> {
    const rows = (await this.run('cat /proc/net/snmp'))
      .split('\n')
      .filter((row) => row.startsWith(`${protocol}: `))
      .map((row) => row.split(' '));
    const value = Number(rows[1]?.[rows[0]?.indexOf(name) ?? -1]);
    if (!Number.isInteger(value)) throw new Error(`/proc/net/snmp has no ${protocol} ${name}`);
    return value;
  }
}
