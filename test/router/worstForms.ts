/** Forms as long as a form may be, each shaped so that one part of the router is slow with it. */

const formBytes = 1024 * 1024 - 64;
const launch =
  'Action=RunInstances&Version=2016-11-15&MinCount=1&MaxCount=1&InstanceType=p1.nano&ImageId=ami-0';
const describe = 'Action=DescribeInstances&Version=2016-11-15';

const filled = (head: string, piece: (at: number) => string, count = Number.POSITIVE_INFINITY): string => {
  let text = head;
  for (let at = 1; at <= count; at += 1) {
    const next = piece(at);
    if (text.length + next.length > formBytes) break;
    text += next;
  }
  return text;
};

/** Form by the name of what is slow with it. */
export const worstForms: Readonly<Record<string, string>> = {
  'user data of 1 MiB, base64 that ends wrong': filled(`${launch}&UserData=`, () => 'A'.repeat(1_024)).concat(
    '!',
  ),
  'user data of 1 MiB, spaces': filled(`${launch}&UserData=`, () => '+'.repeat(1_024)),
  'user data of 1 MiB, all escapes': filled(`${launch}&UserData=`, () => '%3D'.repeat(256)),
  'a value of escapes, as long as one may be': filled(
    `${launch}&KeyName=`,
    () => '%E2%82%AC'.repeat(64),
    1_000,
  ),
  'values of 64 KiB': filled(describe, (at) => `&InstanceId.${at}=${'i'.repeat(65_000)}`),
  'as many parameters as there may be': filled(
    describe,
    (at) => `&Filter.${Math.ceil(at / 200)}.Value.${at}=${'%41'.repeat(60)}`,
    4_990,
  ),
  'as many tags as there may be parameters': filled(
    launch,
    (at) => {
      const tag = `&TagSpecification.${Math.ceil(at / 500)}.Tag.${at}`;
      return `${tag}.Key=${'%41'.repeat(40)}${at}${tag}.Value=${'%42'.repeat(60)}`;
    },
    2_490,
  ),
  'more parameters than there may be': filled(describe, (at) => `&InstanceId.${at}=i`),
  'no parameter at all': filled(describe, () => '&'.repeat(1_024)),
  'the action at the end': `${filled('Version=2016-11-15', () => '&Actio=x')}&Action=No`,
};
