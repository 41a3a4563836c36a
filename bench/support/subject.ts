/** What both sides of a comparison start: the same image, size and accelerator. */
import { join } from 'node:path';
import { chooseAccelerator } from '#agent/accelerator.ts';
import type { RawVmOptions } from './rawHost.ts';

const memoryMib = 128;

/** One whole CPU: a fraction would be held to its quota in Pando and not beside it. */
export const subjectType = `custom.1000m.${memoryMib}`;

export const subjectOptions = async (): Promise<RawVmOptions> => ({
  accelerator: await chooseAccelerator('auto'),
  vcpus: 1,
  memoryMib,
});

/** Where `pando up` keeps the default image. */
export const imageDir = join(process.env.PANDO_CACHE ?? '/var/cache/pando', 'images', 'pando-micro');
export const cidr = '10.40.0.0/16';
