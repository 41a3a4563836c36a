/** Location reports: signed by the device, taken once, checked for what cannot be (S9.4), asked of the carrier. */
import type { App, Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { found } from '../base/settled.ts';
import type { ErrorCode } from '../contract/codes.ts';
import { clockSkewSMax, fixAgeSMax } from '../contract/limits.ts';
import type { Fix, LocationReceipt, LocationReport } from '../contract/location.ts';
import { checkTime, type KnownDevice, takeOnce } from '../people/devices.ts';
import { personRow } from '../people/people.ts';
import { first, run } from '../store/pool.ts';
import { inUnit } from '../unit.ts';
import { cellCenter, coarseCell, coarseRadiusM } from './cells.ts';
import { countTogether } from './co-location.ts';
import { advanceRing, keepFix, SlotNotReady, verifyRadiusM } from './fixes.ts';
import { distanceM } from './geodesic.ts';
import { type PlacedFix, plausible } from './plausible.ts';
import { believedRadiusM, mostTrusted } from './sources.ts';

/** A device that reported what cannot be stays out of decisions for this long after the last such report. */
export const suspicionMs = 10 * 60_000;
/** Fixes of one report that are this close in time compete by trust. */
const sameMomentMs = 30_000;
const hourMs = 3_600_000;
/** The carrier is not asked again about a device before this, unless the device has moved. */
const carrierRestMs = 60_000;
const carrierAgeS = 120;

/** Takes a report. What the device says and what the carrier says about it is kept; the answer says whether it is believed. */
export async function report(
  app: App,
  device: KnownDevice,
  message: LocationReport,
): Promise<LocationReceipt> {
  const fix = usableFix(message, app.clock());
  const attempt = (): Promise<Outcome> => inUnit(app, (unit) => take(unit, device, message, fix));
  // The sweeper prepares a slot ahead of its time. It comes late after a pause of the machine, or a start just before a period's turn.
  const outcome = await attempt().catch(async (error: unknown) => {
    if (!(error instanceof SlotNotReady)) throw error;
    await inUnit(app, (unit) => advanceRing(unit.on, unit.nowMs));
    return attempt();
  });
  if ('refused' in outcome) throw new PaymentsError(outcome.refused, outcome.why);
  const standing = (await askCarrier(app, device, fix)) ?? outcome.standing;
  return { used: fix.source, standing };
}

function usableFix({ payload }: LocationReport, nowMs: number): Fix {
  checkTime(payload.at, nowMs);
  for (const fix of payload.fixes) {
    if (fix.at > Math.min(payload.at, nowMs) + clockSkewSMax * 1000)
      throw new PaymentsError(
        'message_from_future',
        'A fix is dated after its report. Is the device’s clock right?',
      );
    if (fix.at < payload.at - fixAgeSMax * 1000)
      throw new PaymentsError('message_too_old', `A fix may be ${fixAgeSMax} s old at most. Measure again.`);
  }
  const fix = mostTrusted(payload.fixes, sameMomentMs);
  if (fix === undefined) throw new PaymentsError('invalid_request', 'A report has one fix or more.');
  return { ...fix, at: Math.min(fix.at, nowMs) };
}

type Outcome = Pick<LocationReceipt, 'standing'> | { readonly refused: ErrorCode; readonly why: string };

async function take(unit: Unit, device: KnownDevice, message: LocationReport, fix: Fix): Promise<Outcome> {
  const { personId, deviceId } = device;
  // Sent together and looked at in this order. What a refusal finds written is undone with the transaction.
  const [personFound, once, rowFound, lastFound] = await Promise.allSettled([
    personRow(unit.on, personId),
    takeOnce(unit, message),
    lockDevice(unit, deviceId),
    lastFix(unit, personId, deviceId),
  ]);
  const person = found(personFound);
  if (!person.location_opt_in)
    throw new PaymentsError(
      'location_not_opted_in',
      'Turn location on in the settings first: nothing is kept before.',
    );
  found(once);
  const row = found(rowFound);
  if (message.payload.at < Number(row?.last_report_ms ?? 0))
    throw new PaymentsError(
      'report_backdated',
      'A later report of this device was taken already. Send the newest.',
    );
  const next: PlacedFix = {
    position: fix.position,
    radiusM: believedRadiusM(fix.source, fix.accuracyM),
    atMs: fix.at,
  };
  const verdict = plausible(found(lastFound), next);
  if (!verdict.plausible && verdict.why === 'backdated')
    throw new PaymentsError(
      'report_backdated',
      'A later fix of this device was taken already. Send the newest.',
    );
  if (!verdict.plausible) return suspect(unit, deviceId, message.payload.at, verdict.speedMps);
  await Promise.all([
    run(unit.on, 'update device set last_report_ms = $2 where device_id = $1', [
      deviceId,
      message.payload.at,
    ]),
    keepFix(unit, {
      personId,
      deviceId,
      source: fix.source,
      position: fix.position,
      accuracyM: fix.accuracyM,
      atMs: fix.at,
    }),
    run(
      unit.on,
      'insert into coarse_visit (person_id, cell, hour_ms) values ($1, $2, $3) on conflict do nothing',
      [personId, coarseCell(fix.position), Math.floor(unit.nowMs / hourMs) * hourMs],
    ),
  ]);
  const isSuspect = Number(row?.suspect_until_ms ?? 0) > unit.nowMs;
  if (!isSuspect) await countTogether(unit, person, fix);
  return { standing: isSuspect ? 'suspect' : 'trusted' };
}

/** The device's row is locked: two reports at once are one after the other, and the older one is backdated. */
const lockDevice = (
  unit: Unit,
  deviceId: string,
): Promise<{ last_report_ms: bigint; suspect_until_ms: bigint } | undefined> =>
  first(unit.on, 'select last_report_ms, suspect_until_ms from device where device_id = $1 for update', [
    deviceId,
  ]);

/** The suspicion is kept although the report is refused: so this returns, and does not throw. */
async function suspect(unit: Unit, deviceId: string, atMs: number, speedMps = 0): Promise<Outcome> {
  await run(unit.on, 'update device set last_report_ms = $2, suspect_until_ms = $3 where device_id = $1', [
    deviceId,
    atMs,
    unit.nowMs + suspicionMs,
  ]);
  const speed = Number.isFinite(speedMps) ? `${Math.round(speedMps)} m/s` : 'two places at one moment';
  return {
    refused: 'report_implausible_speed',
    why: `From the last position to this one: ${speed}. The device’s positions are not used for a while.`,
  };
}

/** The device's last fix; when that is gone, the person's last coarse cell of this day, with its radius. */
async function lastFix(unit: Unit, personId: string, deviceId: string): Promise<PlacedFix | undefined> {
  const exact = await first<{
    source: Fix['source'];
    latitude: number;
    longitude: number;
    accuracy_m: number;
    at_ms: bigint;
  }>(
    unit.on,
    `select source, latitude, longitude, accuracy_m, at_ms from position_fix
     where person_id = $1 and device_id = $2 order by at_ms desc limit 1`,
    [personId, deviceId],
  );
  if (exact !== undefined)
    return {
      position: { latitude: exact.latitude, longitude: exact.longitude },
      radiusM: believedRadiusM(exact.source, exact.accuracy_m),
      atMs: Number(exact.at_ms),
    };
  const coarse = await first<{ cell: string; hour_ms: bigint }>(
    unit.on,
    'select cell, hour_ms from coarse_visit where person_id = $1 and hour_ms > $2 order by hour_ms desc limit 1',
    [personId, unit.nowMs - 24 * hourMs],
  );
  return (
    coarse && { position: cellCenter(coarse.cell), radiusM: coarseRadiusM, atMs: Number(coarse.hour_ms) }
  );
}

/**
 * Asks the carrier whether the device is near where it says. TRUE ends a suspicion, FALSE begins one. Undefined: the carrier was not
 * asked, or said nothing; then the device's standing is as it was.
 */
async function askCarrier(
  app: App,
  device: KnownDevice,
  fix: Fix,
): Promise<'trusted' | 'suspect' | undefined> {
  if (app.carrier === undefined || device.phoneNumber === null) return undefined;
  if (await recentlyAsked(app, device.deviceId, fix)) return undefined;
  const said = await app.carrier.verify({
    device: { phoneNumber: device.phoneNumber },
    area: { areaType: 'CIRCLE', center: fix.position, radius: verifyRadiusM },
    maxAge: carrierAgeS,
  });
  if (said.kind !== 'answer') {
    app.log.info({ device: device.deviceId, said }, 'the carrier gave no answer');
    return undefined;
  }
  const nowMs = app.clock();
  await inUnit(app, async (unit) => {
    await run(
      unit.on,
      `insert into carrier_word (device_id, person_id, result, match_rate, latitude, longitude, at_ms)
       select $1, $2, $3, $4, $5, $6, $7 from person where person_id = $2 and location_opt_in
       on conflict (device_id) do update set result = excluded.result, match_rate = excluded.match_rate,
         latitude = excluded.latitude, longitude = excluded.longitude, at_ms = excluded.at_ms`,
      [
        device.deviceId,
        device.personId,
        said.result,
        said.matchRate,
        fix.position.latitude,
        fix.position.longitude,
        nowMs,
      ],
    );
    if (said.result !== 'PARTIAL')
      await run(unit.on, 'update device set suspect_until_ms = $2 where device_id = $1', [
        device.deviceId,
        said.result === 'TRUE' ? 0 : nowMs + suspicionMs,
      ]);
  });
  return said.result === 'PARTIAL' ? undefined : said.result === 'TRUE' ? 'trusted' : 'suspect';
}

async function recentlyAsked(app: App, deviceId: string, fix: Fix): Promise<boolean> {
  const word = await first<{ latitude: number; longitude: number; result: string; at_ms: bigint }>(
    app.pool,
    'select latitude, longitude, result, at_ms from carrier_word where device_id = $1',
    [deviceId],
  );
  if (word?.result !== 'TRUE' || app.clock() - Number(word.at_ms) > carrierRestMs) return false;
  return distanceM(fix.position, word) < verifyRadiusM / 4;
}
