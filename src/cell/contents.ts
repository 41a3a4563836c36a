/** What this cell has, beside its limits (S3.7): told to the region, and an alarm of its own when a limit nears. */
import { metrics } from '#base/metrics.ts';
import { type CellContents, isNearlyFull } from '#contracts/region.ts';
import type { CellServices } from './services.ts';
import type { Sql } from './store/sql.ts';
import { liveWorkflows } from './store/workflow-listing.ts';

interface Asked {
  readonly db: Sql;
  readonly identity: Pick<CellServices['identity'], 'cellId'>;
  readonly limits: Pick<CellServices['limits'], 'hosts' | 'vms'>;
}
type Services = Pick<CellServices, 'db' | 'identity' | 'limits' | 'log'>;

interface Counts {
  readonly hosts: number;
  readonly vms: number;
  readonly quarantined: number;
  readonly workflows: number;
}

export const cellContents = async ({ db, identity, limits }: Asked): Promise<CellContents> => {
  const [counts] = await db.query<Counts>(
    `select (select count(*)::int from hosts) as hosts,
       (select count(*)::int from instances where terminated_at is null) as vms,
       (select count(*)::int from quarantined_vms) as quarantined,
       (select count(*)::int from ${liveWorkflows('state')}) as workflows`,
  );
  const { hosts = 0, vms = 0, quarantined = 0, workflows = 0 } = counts ?? {};
  return {
    ...{ cellId: identity.cellId, hosts, hostsMax: limits.hosts, vms, vmsMax: limits.vms },
    ...{ quarantined, workflows },
  };
};

/** Says once, each time that it begins, that the next cell is due. Whoever supervises the cells here makes it by itself. */
export class FillWatch {
  readonly #services: Services;
  #near = false;

  constructor(services: Services) {
    this.#services = services;
  }

  /** Whether the last look found a limit near. */
  get near(): boolean {
    return this.#near;
  }

  async look(): Promise<CellContents> {
    const { identity, log } = this.#services;
    const contents = await cellContents(this.#services);
    const { hosts, hostsMax, vms, vmsMax } = contents;
    metrics.cellFill.set({ resource: 'hosts' }, hosts / hostsMax);
    metrics.cellFill.set({ resource: 'vms' }, vms / vmsMax);
    const near = isNearlyFull(contents);
    if (near && !this.#near)
      log.error(
        { alarm: 'cell-nearly-full', hosts, hostsMax, vms, vmsMax },
        `ALARM: this cell is nearly full. Make the next one: pando cell create --zone ${identity.zone}`,
      );
    this.#near = near;
    return contents;
  }
}
