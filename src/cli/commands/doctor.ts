import { paint, print, progress, table, ticking, UserError } from '../output.ts';
import { examine, type Finding } from '../provision/checks.ts';
import { installMissing } from '../provision/install.ts';

const marks = { ok: '✔', note: '!', lacking: '✘' } as const satisfies Record<Finding['level'], string>;

/** `pando doctor`: what this machine lacks, and the fix. */
export async function doctor(options: { fix: boolean }): Promise<void> {
  if (options.fix) {
    const changed = await ticking(() => installMissing({ tests: true }, progress));
    progress(changed ? 'Installed what was missing.' : 'No package was missing.');
  }
  const findings = await examine();
  print(table(findings.map((each) => [`${marks[each.level]} ${each.what}`, each.detail])));
  const open = findings.filter((each) => each.fix !== undefined && each.level !== 'ok');
  if (open.length > 0) print(`\n${open.map((each) => `${each.what}: ${each.fix}`).join('\n')}`);
  const lacking = findings.filter((each) => each.level === 'lacking');
  if (lacking.length > 0)
    throw new UserError(`This machine lacks: ${lacking.map((each) => each.what).join(', ')}.`);
  print(`\n${paint('ok', 'This machine can run Pando.')} Next: ./pando up`);
}
