/** A real host passes what every host must do: the same checks as the simulated one. */
import { after, before } from 'node:test';
import { hostContractSuite } from '../host-contract.suite.ts';
import { hostRebuildSuite, type RebuiltHost } from '../host-rebuild.suite.ts';
import { Lab, type TestHost } from './lab.ts';

let lab: Lab;
let host: TestHost;
before(async () => {
  lab = await Lab.open();
  host = await (await lab.host()).start();
});
after(() => lab.close());

const underTest = (): RebuiltHost => ({
  caller: host.caller,
  vtep: host.config.vtep,
  image: host.imageRef,
  memoryMib: 32,
  killVmm: (instanceId) => host.killVmm(instanceId),
  pauseVmm: async (instanceId) => void (await host.qmp(instanceId, 'stop', {})),
  guestShutdown: (instanceId) => host.guestShutdown(instanceId),
  guestAnswers: (eniId) => void lab.heard.set(eniId, { arpMs: 10 }),
});

hostContractSuite('real host', underTest);
hostRebuildSuite('real host', underTest);
