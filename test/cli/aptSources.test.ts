import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backportsSource, parseAptSources } from '#cli/provision/aptSources.ts';

const sourcesOf = (name: string, text: string) => parseAptSources(new Map([[name, text]]));

test('deb822: mirror and key of the release are taken over', () => {
  const sources = sourcesOf(
    '/etc/apt/sources.list.d/debian.sources',
    `Types: deb deb-src
# a comment between
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
`,
  );
  assert.equal(
    backportsSource(sources, 'bookworm'),
    `Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`,
  );
});

test('deb822: a key given as text stays whole', () => {
  const sources = sourcesOf(
    'x.sources',
    `Types: deb
URIs: https://mirror.example/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
`,
  );
  const addition = backportsSource(sources, 'bookworm') ?? '';
  assert.match(addition, /Signed-By:\s*\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n \.\n abc\n -----END/);
});

test('one line: options, and the other suites and source lines around it', () => {
  const sources = sourcesOf(
    '/etc/apt/sources.list',
    `# deb http://old.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] https://mirror.example/debian bookworm main non-free-firmware # ours
`,
  );
  assert.equal(
    backportsSource(sources, 'bookworm'),
    'Types: deb\nURIs: https://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\nSigned-By: /usr/share/keyrings/k.gpg\n',
  );
});

test('a suite that is configured already is not added again', () => {
  const sources = sourcesOf(
    'a.list',
    'deb http://mirror.example/debian bookworm main\ndeb http://mirror.example/debian bookworm-backports main contrib\n',
  );
  assert.equal(backportsSource(sources, 'bookworm'), undefined);
});

test('a disabled stanza does not count', () => {
  const stanza = (suite: string, enabled: string): string =>
    `Enabled: ${enabled}\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: ${suite}\nComponents: main\n`;
  const sources = sourcesOf(
    'a.sources',
    `${stanza('bookworm', 'yes')}\n${stanza('bookworm-backports', 'no')}`,
  );
  assert.match(backportsSource(sources, 'bookworm') ?? '', /Suites: bookworm-backports/);
});

test('without a source of the release there is nothing to derive it from', () => {
  assert.equal(
    backportsSource(sourcesOf('a.list', 'deb http://mirror.example/debian trixie main\n'), 'bookworm'),
    undefined,
  );
});
