/**
 * Names for what a test makes in the kernel: they carry the test's process id, so that what a process left that was killed can be told
 * from what a living one uses.
 */
const pidDigits = 5;
const prefix = 'pt';
let given = 0;

/** A new name of this process: `pt`, the process id, a counter; eight characters, so that names of devices have room behind it. */
export const labName = (): string => {
  const count = given++ % 36;
  return `${prefix}${process.pid.toString(36).padStart(pidDigits, '0')}${count.toString(36)}`;
};

/** The name that a name begins with, and the process that gave it; undefined: it is none of ours. */
export const labOf = (name: string): { readonly lab: string; readonly pid: number } | undefined => {
  const [lab, digits] = /^pt([0-9a-z]{5})[0-9a-z](?=[0-9a-z]*(?:-|$))/.exec(name) ?? [];
  return lab === undefined || digits === undefined ? undefined : { lab, pid: Number.parseInt(digits, 36) };
};
