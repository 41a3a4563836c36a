/** A payment code: scanned where the browser can, or its text. */
import { useState } from 'react';
import { codeParts } from '../lib/code.ts';
import { canScan } from '../lib/detector.ts';
import { go } from '../lib/router.ts';
import { Button, Field } from '../parts/controls.tsx';
import { Section } from '../parts/page.tsx';
import { Scanner } from '../parts/scanner.tsx';
import { texts } from '../texts.ts';

const said = texts.pay;

export function CodeEntry() {
  const [text, setText] = useState('');
  const [wrong, setWrong] = useState<string>();
  const [isScanning, setScanning] = useState(false);
  const open = (code: string): void => {
    const parts = codeParts(code);
    if (parts === undefined) setWrong(said.codeWrong);
    else go(`/code/${parts.askId}/${parts.token}`);
  };
  return (
    <Section title={said.code}>
      <form
        className="flex flex-col gap-3"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          open(text);
        }}
      >
        {isScanning && (
          <Scanner
            onCode={open}
            onFailure={() => {
              setScanning(false);
              setWrong(said.scanNone);
            }}
          />
        )}
        {canScan() && !isScanning && (
          <Button look="plain" onClick={() => setScanning(true)}>
            {said.scan}
          </Button>
        )}
        <Field
          label={said.codeLabel}
          autoComplete="off"
          value={text}
          wrong={wrong}
          onChange={(event) => setText(event.target.value)}
        />
        <Button type="submit" look="plain">
          {said.look}
        </Button>
      </form>
    </Section>
  );
}
