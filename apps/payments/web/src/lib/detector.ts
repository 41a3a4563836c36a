/** The browser's own reader of QR codes. */

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
