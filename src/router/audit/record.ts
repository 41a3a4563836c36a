/** One call as CloudTrail records it (event version 1.11). Secrets, key material and user data are left out. */
import { randomUUID } from 'node:crypto';

/** What is known of an authenticated call when it has been answered. */
export interface AuditedCall {
  readonly requestId: string;
  readonly atMs: number;
  readonly region: string;
  readonly service: 'ec2' | 'sts';
  readonly action: string;
  readonly readOnly: boolean;
  readonly caller: {
    readonly accountId: string;
    readonly arn: string;
    readonly userId: string;
    readonly accessKeyId: string;
  };
  readonly sourceAddress: string;
  readonly userAgent: string;
  readonly input: unknown;
  /** undefined where the call failed. */
  readonly output?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

export type AuditRecord = Readonly<Record<string, unknown>>;

export const removed = '<sensitiveDataRemoved>';
/** Members whose value is somebody's secret, or may contain one. */
const sensitive = /^(?:userdata|keymaterial|publickeymaterial|authorization)$|secret|password|privatekey/i;

/** Members that are named by another one: `Attribute=userData` and `Value=...`, the older form of ModifyInstanceAttribute. */
const naming = 'Attribute';
const named = 'Value';

const textCharsMax = 1_024;
const itemsMax = 100;
const membersMax = 100;
const depthMax = 8;
/** Of parameters and of response elements, each, as JSON. */
const elementsCharsMax = 32 * 1024;

export const auditRecord = (call: AuditedCall): AuditRecord => {
  const { caller, error } = call;
  return {
    eventVersion: '1.11',
    userIdentity: {
      type: userType(caller.arn),
      principalId: caller.userId,
      arn: caller.arn,
      accountId: caller.accountId,
      accessKeyId: caller.accessKeyId,
    },
    eventTime: new Date(call.atMs).toISOString().replace(/\.\d{3}Z$/, 'Z'),
    eventSource: `${call.service}.amazonaws.com`,
    eventName: call.action,
    awsRegion: call.region,
    sourceIPAddress: call.sourceAddress,
    userAgent: call.userAgent.slice(0, textCharsMax),
    ...(error === undefined
      ? {}
      : { errorCode: error.code, errorMessage: error.message.slice(0, textCharsMax) }),
    requestParameters: bounded(shown(call.input, depthMax)),
    // Of a call that only reads CloudTrail keeps no answer.
    responseElements:
      call.readOnly || call.output === undefined ? null : bounded(shown(call.output, depthMax)),
    requestID: call.requestId,
    eventID: randomUUID(),
    readOnly: call.readOnly,
    eventType: 'AwsApiCall',
    managementEvent: true,
    recipientAccountId: caller.accountId,
    eventCategory: 'Management',
  };
};

const userType = (arn: string): string => {
  if (arn.endsWith(':root')) return 'Root';
  return arn.includes(':assumed-role/') ? 'AssumedRole' : 'IAMUser';
};

/** A copy with CloudTrail's member names, without secrets, and of bounded size. */
const shown = (value: unknown, depth: number): unknown => {
  if (typeof value === 'string')
    return value.length > textCharsMax ? `${value.slice(0, textCharsMax)}…` : value;
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return value.toISOString();
  if (depth === 0) return '…';
  if (Array.isArray(value)) return value.slice(0, itemsMax).map((item) => shown(item, depth - 1));
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .slice(0, membersMax)
      .map(([name, member]) => [
        name.charAt(0).toLowerCase() + name.slice(1),
        isSensitive(value, name) ? removed : shown(member, depth - 1),
      ]),
  );
};

const isSensitive = (structure: object, name: string): boolean => {
  if (sensitive.test(name)) return true;
  const attribute: unknown = name === named ? Reflect.get(structure, naming) : undefined;
  return typeof attribute === 'string' && sensitive.test(attribute);
};

const bounded = (value: unknown): unknown => {
  const chars = JSON.stringify(value)?.length ?? 0;
  return chars > elementsCharsMax ? { omitted: `${chars} characters` } : value;
};
