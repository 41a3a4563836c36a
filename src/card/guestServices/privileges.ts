/** Gives up what a process started with, for good. */
import { readFileSync } from 'node:fs';

/** Becomes this user, of no other group. Throws unless nothing is left that could be used or got back. */
export const dropPrivileges = (uid: number): void => {
  const { setgroups, setgid, setuid } = process;
  if (setgroups === undefined || setgid === undefined || setuid === undefined)
    throw new Error('this system has no users');
  setgroups([]);
  setgid(uid);
  setuid(uid);
  const status = readFileSync('/proc/thread-self/status', 'utf8');
  const field = (name: string): string =>
    new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.trim() ?? '';
  const everyUid = field('Uid').split(/\s+/);
  const caps = ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'].map(field);
  if (!everyUid.every((each) => Number(each) === uid) || !caps.every((each) => /^0+$/.test(each)))
    throw new Error('privileges were not dropped');
  if (field('NoNewPrivs') !== '1') throw new Error('new privileges could be got');
};
