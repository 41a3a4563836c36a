/**
 * The URL of a store, as libpq writes it: one server or several, of which the one that takes writes is used.
 *
 *   postgresql://user@h1:5432,h2:5433/db          postgresql://user@localhost/db?host=/run/a,/run/b&port=5432,5433
 */
import { addressesMax } from './limits.ts';

export interface StoreAddress {
  /** URL of this server alone. */
  readonly url: string;
  /** `host:port` or a socket's directory: for logs, without user and password. */
  readonly shown: string;
}

export interface StoreUrl {
  readonly addresses: readonly StoreAddress[];
  /** Whether a server in hot standby is refused: `target_session_attrs`, here `read-write` unless the URL says `any`. */
  readonly writable: boolean;
}

const form = /^(postgres(?:ql)?):\/\/(?:([^@/?#]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;

interface Parts {
  readonly scheme: string;
  readonly user: string | undefined;
  readonly hosts: string;
  readonly database: string;
  readonly parameters: URLSearchParams;
}

const partsOf = (url: string): Parts => {
  const match = form.exec(url);
  if (match === null)
    throw new TypeError('it is not a URL of PostgreSQL: postgresql://user@host:5432/database');
  const [, scheme = '', user, hosts = '', database = '', parameters = ''] = match;
  return { scheme, user, hosts, database, parameters: new URLSearchParams(parameters) };
};

const written = ({ scheme, user, hosts, database, parameters }: Parts): string => {
  const text = parameters.toString();
  const who = user === undefined ? '' : `${user}@`;
  return `${scheme}://${who}${hosts}/${database}${text === '' ? '' : `?${text}`}`;
};

/** Every server of a URL. @throws TypeError for what is no such URL; the message contains nothing of the URL. */
export const parseStoreUrl = (url: string): StoreUrl => {
  const { parameters, ...parts } = partsOf(url);
  const attributes = parameters.get('target_session_attrs') ?? 'read-write';
  if (attributes !== 'read-write' && attributes !== 'primary' && attributes !== 'any')
    throw new TypeError('target_session_attrs is read-write, primary or any');
  parameters.delete('target_session_attrs');
  const hosts = parameters.get('host')?.split(',');
  const ports = parameters.get('port')?.split(',');
  const listed = hosts ?? parts.hosts.split(',');
  if (listed.length > addressesMax) throw new TypeError(`a store has at most ${addressesMax} addresses`);
  if (ports !== undefined && ports.length !== 1 && ports.length !== listed.length)
    throw new TypeError('port names one port, or as many as there are hosts');
  const addresses = listed.map((host, at): StoreAddress => {
    const own = new URLSearchParams(parameters);
    const port = ports?.[at] ?? ports?.[0];
    if (port !== undefined) own.set('port', port);
    if (hosts === undefined) {
      const one = written({ ...parts, hosts: host, parameters: own });
      // The dummy name stands for an empty host: PostgreSQL's default.
      if (host !== '' && !URL.canParse(`http://${host}`))
        throw new TypeError('a host of the URL is malformed');
      return { url: one, shown: port === undefined ? host : `${host}:${port}` };
    }
    own.set('host', host);
    return {
      url: written({ ...parts, hosts: parts.hosts.split(',')[0] ?? '', parameters: own }),
      shown: port === undefined ? host : `${host}:${port}`,
    };
  });
  return { addresses, writable: attributes !== 'any' };
};

/** The same servers, another database. */
export const withDatabase = (url: string, database: string): string => written({ ...partsOf(url), database });

/** The URL without its password, for people. */
export const shownUrl = (url: string): string => {
  const parts = partsOf(url);
  return written({ ...parts, user: parts.user?.split(':')[0] });
};
