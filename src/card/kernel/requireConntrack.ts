import { exec } from '#base/exec.ts';

/**
 * A device without conntrack(8) would leave a former holder's connections open to whoever has the address next: it does not start.
 * Traffic that flows already is the kernel's, and goes on. @throws with what to install
 */
export const requireConntrack = async (env: NodeJS.ProcessEnv = process.env): Promise<void> => {
  try {
    await exec('conntrack', ['--version'], { env });
  } catch (cause) {
    throw new Error(
      'The command conntrack is missing, and connections must end when an address changes hands: apt-get install conntrack (pando up does so by itself).',
      { cause },
    );
  }
};
