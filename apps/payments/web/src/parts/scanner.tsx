/** The camera, read until it shows a code. */
import { useEffect, useRef } from 'react';
import { newDetector } from '../lib/detector.ts';
import { texts } from '../texts.ts';

const lookEveryMs = 200;

export function Scanner({
  onCode,
  onFailure,
}: {
  readonly onCode: (text: string) => void;
  readonly onFailure: () => void;
}) {
  const video = useRef<HTMLVideoElement>(null);
  const told = useRef({ onCode, onFailure });
  told.current = { onCode, onFailure };
  useEffect(() => {
    const detector = newDetector();
    let stream: MediaStream | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isOver = false;
    const look = async (): Promise<void> => {
      const found = video.current === null ? [] : await detector?.detect(video.current).catch(() => []);
      if (isOver) return;
      const [code] = found ?? [];
      if (code === undefined) timer = setTimeout(() => void look(), lookEveryMs);
      else told.current.onCode(code.rawValue);
    };
    const start = async (): Promise<void> => {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
      if (isOver || video.current === null) return stop();
      video.current.srcObject = stream;
      await video.current.play();
      await look();
    };
    const stop = (): void => {
      for (const track of stream?.getTracks() ?? []) track.stop();
    };
    start().catch(() => told.current.onFailure());
    return () => {
      isOver = true;
      clearTimeout(timer);
      stop();
    };
  }, []);
  return (
    <video
      ref={video}
      muted
      playsInline
      aria-label={texts.pay.scan}
      className="aspect-square w-full rounded-xl bg-line object-cover"
    />
  );
}
