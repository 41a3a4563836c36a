/** Simulated hosts below a fault matrix: everything that they hold can be looked at. */
import assert from 'node:assert/strict';
import type { TestDatabase } from '../../base/postgres/test-database.ts';
import { doomedLease, type Ground, lease } from './fault-matrix.ts';
import { TestCell } from './harness.ts';

export interface SimulatedGround extends Ground {
  /** All cards are started again: what was in a process of theirs is gone. */
  restartCards(): void;
  /** Whoever takes a workflow over finds it as the first release leaves it: its place as an integer alone. */
  cursorsOnly(on: boolean): Promise<void>;
  stop(): Promise<void>;
}

const forgetNames = `
  create or replace function forget_names() returns trigger language plpgsql as $$
  begin
    if new.epoch <> old.epoch then
      new.step := null;
      new.step_cursor := null;
    end if;
    return new;
  end $$;
  create trigger forget_names before update on workflows for each row execute function forget_names()`;

/** On a server that is shared with others, or one of its own. */
export const simulatedGround = async (
  shared?: Pick<TestDatabase, 'url' | 'stop'>,
): Promise<SimulatedGround> => {
  const setup = await TestCell.start(shared);
  setup.addHost({ copyMs: 30 });
  setup.addHost({ copyMs: 30 });
  const survivor = await setup.addProcessor({ ...lease, timing: { duePollMs: 60 } });
  return {
    region: setup.region,
    survivor,
    instanceType: 'p1.nano',
    settleMsMax: 20_000,
    killVmm: async (id) => setup.hosts.find((host) => host.vms.has(id))?.killVmm(id),
    addProcessor: (faults, more) => setup.addProcessor({ ...doomedLease, faults, ...more }),
    launches: () => setup.hosts.reduce((sum, host) => sum + (host.calls.get('vm.launch') ?? 0), 0),
    restartCards: () => {
      for (const { card } of setup.hosts) card.restart();
    },
    cursorsOnly: async (on) => {
      await survivor.cell.services.db.query(on ? forgetNames : 'drop trigger forget_names on workflows');
    },
    stop: () => setup.stop(),
    assertPlaced: async ({ id, state, host_id: hostId }) => {
      assert.deepEqual(setup.world.violations, [], 'I1');
      assert.deepEqual(
        [...setup.world.runningOn(id)],
        state === 'running' ? [hostId] : [],
        'runs where the row says',
      );
      const holders = setup.hosts.filter((host) => host.vms.has(id)).map((host) => host.hostId);
      assert.deepEqual(holders, state === 'terminated' ? [] : [hostId], 'no copy is left elsewhere');
      if (state !== 'running') return;
      const port = setup.region.interfaces.get(id);
      const card = setup.hosts.find((each) => each.hostId === hostId)?.card;
      assert.equal(port?.vtep, card?.vtep, 'the region sends packets where it runs');
      const attached = [...(card?.ports.values() ?? [])].filter(
        (each) => each.port.eniId === port?.eniId && each.active && each.redirect === undefined,
      );
      assert.equal(attached.length, 1);
    },
    assertNothingLeft: async () => {
      for (const host of setup.hosts) {
        assert.equal(host.vms.size, 0);
        assert.equal(host.card.ports.size, 0);
        assert.equal(host.card.queues.size, 0);
        assert.equal(host.card.administrative.size, 0);
      }
    },
  };
};
