/** Debian's package manager, with the machine's own sources. */
import { ExecError, exec } from '#base/exec.ts';

const aptOptions = ['-o', 'DPkg::Lock::Timeout=180', '-o', 'Acquire::Retries=3', '-q'];
/** What apt says, and does nothing, after dpkg was ended in the middle of its work: by Ctrl-C in a first run, for example. */
const interruptedSign = 'dpkg --configure -a';

export interface Apt {
  readonly timeoutMs: number;
  readonly log: (line: string) => void;
  /** What runs the commands; a test's. */
  readonly run?: typeof exec;
}

/** Runs apt-get. An installation that was interrupted is finished first. */
export async function apt(args: readonly string[], { timeoutMs, log, run = exec }: Apt): Promise<void> {
  const options = {
    timeoutMs,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
  };
  const ask = () => run('apt-get', [...aptOptions, ...args], options);
  try {
    await ask();
  } catch (error) {
    if (!(error instanceof ExecError) || !error.stderr.includes(interruptedSign)) throw error;
    log('finishing an installation that was interrupted');
    await run('dpkg', ['--configure', '-a'], options);
    await ask();
  }
}
