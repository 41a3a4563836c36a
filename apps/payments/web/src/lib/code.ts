/** Payment codes, `pando-pay:1:<askId>:<token>`, and the browser's own reader of QR codes. */

/** Its parts; undefined for any other text. */
export function codeParts(text: string): { readonly askId: string; readonly token: string } | undefined {
  const match = /^pando-pay:1:(ask_[0-9a-z]{26}):([A-Za-z0-9_-]{1,64})$/.exec(text.trim());
  const [, askId, token] = match ?? [];
  return askId === undefined || token === undefined ? undefined : { askId, token };
}

interface Detector {
  detect(source: HTMLVideoElement): Promise<readonly { readonly rawValue: string }[]>;
}

/** Not in every browser, and in no type library yet. */
const detectorClass = (): (new (options: { formats: string[] }) => Detector) | undefined =>
  'BarcodeDetector' in window
    ? (window.BarcodeDetector as new (options: {
        formats: string[];
      }) => Detector)
    : undefined;

export const canScan = (): boolean => detectorClass() !== undefined && 'mediaDevices' in navigator;

export function newDetector(): Detector | undefined {
  const Detector = detectorClass();
  return Detector === undefined ? undefined : new Detector({ formats: ['qr_code'] });
}
