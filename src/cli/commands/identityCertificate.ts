/** `pando identity-certificate`: what verifies the identity documents that instances show. */
import { print, UserError } from '../output.ts';
import { openRegion } from '../region.ts';
import { withRegion } from '../regionOperator.ts';

export async function identityCertificate(options: { readonly dir: string }): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const { certificate } = await region.call('operator.identityCertificate', {});
    if (certificate === undefined)
      throw new UserError(
        'The region cannot open its key: identity documents are not signed now. pando logs region says what it needs.',
      );
    print(certificate.trimEnd());
  });
}
