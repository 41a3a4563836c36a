/** Starts the supervisor as a process of its own, or finds the one that runs, and hands it the list of processes. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { monotonicMs } from '#base/monotonic.ts';
import { supervisorDigest } from './codeDigest.ts';
import { nodeFlags } from './compiledCode.ts';
import { askSupervisor } from './control.ts';
import { codeDirectory, type RunDirectory } from './directory.ts';
import { endProcess, livingIn } from './processIdentity.ts';
import type { SupervisedStatus } from './supervised.ts';

const startTimeoutMs = 20_000;
const readyTimeoutMs = 120_000;
const pollMs = 100;

function start(directory: RunDirectory): void {
  mkdirSync(directory.log, { recursive: true, mode: 0o700 });
  const output = openSync(directory.logFile('supervisor'), 'a', 0o600);
  const main = join(codeDirectory, 'src', 'node', 'supervisorMain.ts');
  const args = [...nodeFlags, main, directory.root];
  spawn(process.execPath, args, {
    cwd: codeDirectory,
    detached: true,
    stdio: ['ignore', output, output],
    env: { ...process.env, NODE_COMPILE_CACHE: directory.compiled },
  }).unref();
  closeSync(output);
}

const supervisorRecord = z.object({ code: z.string() });

/** Which code the running supervisor was started from; undefined: one that did not say yet. */
function codeOf(directory: RunDirectory): string | undefined {
  try {
    const text = readFileSync(directory.pidFile('supervisor'), 'utf8');
    return supervisorRecord.parse(JSON.parse(text)).code;
  } catch {
    return undefined;
  }
}

/** Makes the supervisor follow the list in the run's directory. True when it had to be started. */
export async function ensureSupervisor(directory: RunDirectory): Promise<boolean> {
  const present = livingIn(directory.pidFile('supervisor'));
  if (present !== undefined && codeOf(directory) !== supervisorDigest()) {
    // A supervisor of another release, or of another directory. The processes that it started run on, and are adopted.
    await endProcess(present, 2_000);
  } else if (present !== undefined) {
    const answered = await askSupervisor(directory.controlSocket, { op: 'load' }).then(
      () => true,
      () => false,
    );
    if (answered) return false;
    // It lives but does not answer. Its processes go on, and a new supervisor takes over.
    await endProcess(present, 2_000);
  }
  start(directory);
  const until = monotonicMs() + startTimeoutMs;
  while (monotonicMs() < until) {
    if (
      livingIn(directory.pidFile('supervisor')) !== undefined &&
      (await askSupervisor(directory.controlSocket, { op: 'status' }).then(
        () => true,
        () => false,
      ))
    )
      return true;
    await delay(pollMs);
  }
  throw new Error(`The supervisor did not start. See ${directory.logFile('supervisor')}`);
}

const tail = (path: string, lines: number): string => {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n').slice(-2_000);
  } catch {
    return '(nothing)';
  }
};

const sayEveryMs = 3_000;
const silent = (): void => undefined;

/**
 * Resolves when every process is ready. Throws after a bounded time, with the processes that are not and the end of their logs. `log` is
 * told at intervals which ones are waited for, and why.
 */
export async function waitReady(
  directory: RunDirectory,
  log: (line: string) => void = silent,
  timeoutMs = readyTimeoutMs,
): Promise<SupervisedStatus[]> {
  let until = monotonicMs() + timeoutMs;
  let sayAt = monotonicMs() + sayEveryMs;
  let outdatedMin = Number.POSITIVE_INFINITY;
  for (;;) {
    const states = await askSupervisor(directory.controlSocket, { op: 'status' });
    const missing = states.filter((state) => state.state !== 'ready' || state.outdated);
    const outdated = states.filter((state) => state.outdated).length;
    // Processes are replaced one after the other: each has its time.
    if (outdated < outdatedMin) until = monotonicMs() + timeoutMs;
    outdatedMin = Math.min(outdatedMin, outdated);
    if (states.length > 0 && missing.length === 0) return states;
    if (monotonicMs() > until) throw notReady(directory, missing);
    if (monotonicMs() > sayAt) {
      log(waitingFor(missing));
      sayAt += sayEveryMs;
    }
    await delay(pollMs);
  }
}

/** Those that only wait for their turn are counted. */
function waitingFor(missing: readonly SupervisedStatus[]): string {
  const now = missing.filter((each) => each.outdated !== true).map(withReason);
  const later = missing.length - now.length;
  const rest = later === 0 ? [] : [`${later} that run the former code`];
  return `waiting for ${[...now, ...rest].join(', ')}`;
}

const withReason = ({ name, reason }: SupervisedStatus): string =>
  reason === undefined ? name : `${name} (${endOf(reason)})`;

/** What a command failed of stands at the end of its reason; the whole is in `pando status` and in the log. */
const endOf = (reason: string): string =>
  reason.length <= reasonCharsMax ? reason : `… ${reason.slice(-reasonCharsMax)}`;

const shownMax = 3;
const reasonCharsMax = 120;

function notReady(directory: RunDirectory, missing: readonly SupervisedStatus[]): Error {
  const outputs = missing
    .filter((each) => each.state !== 'ready')
    .slice(0, shownMax)
    .map(
      (each) => `--- ${each.name} (${each.reason ?? each.state}):\n${tail(directory.logFile(each.name), 8)}`,
    );
  const former = missing.filter((each) => each.outdated).map((each) => each.name);
  const rest =
    former.length === 0 ? '' : `\nThese go on with the former code until it is: ${former.join(' ')}`;
  const names = missing.filter((each) => each.state !== 'ready').map((each) => each.name);
  return new Error(`Not ready: ${names.join(' ')}\n${outputs.join('\n')}${rest}`);
}
