/** The API as the tests use it: what a launch needs, and its waits. What is launched here is ended by `empty`. */
import type { Ec2Client } from '#cli/ec2Client.ts';
import { itemsAt, textAt, type XmlElement } from '#cli/xmlTree.ts';
import { Guest } from './guest.ts';
import { until } from './until.ts';

export interface Vm {
  readonly instanceId: string;
  readonly state: string;
  readonly privateIp: string;
  readonly publicIp: string;
  /** Code and message of its state reason; empty: none. */
  readonly reason: string;
}

export interface Network {
  readonly vpcId: string;
  readonly subnetId: string;
  readonly groupId: string;
}

export interface LaunchOptions {
  readonly network: Network;
  readonly count?: number;
  /** Default: `typeDefault`. */
  readonly type?: string;
  /** Default: the default image. */
  readonly imageId?: string;
  readonly userData?: string;
}

const vmOf = (item: XmlElement): Vm => ({
  instanceId: textAt(item, 'instanceId'),
  state: textAt(item, 'instanceState', 'name'),
  privateIp: textAt(item, 'privateIpAddress'),
  publicIp: textAt(item, 'ipAddress'),
  reason: textAt(item, 'stateReason', 'message'),
});

/** A whole CPU, so that no quota slows the boot under emulation; little memory. */
export const typeDefault = 'custom.1000m.128';
export const typeSmallest = 'p1.nano';

export class Cloud {
  readonly ec2: Ec2Client;
  readonly keyFile: string;
  readonly #keyName: string;
  readonly #launched = new Set<string>();

  constructor(ec2: Ec2Client, key: { readonly name: string; readonly file: string }) {
    this.ec2 = ec2;
    this.#keyName = key.name;
    this.keyFile = key.file;
  }

  async image(): Promise<string> {
    const images = itemsAt(await this.ec2.call('DescribeImages'), 'imagesSet');
    const found = images.find((item) => textAt(item, 'name').includes('micro')) ?? images[0];
    if (found === undefined) throw new Error('the region has no image');
    return textAt(found, 'imageId');
  }

  /** Registers a built image of the directory that images are built in. */
  async register(name: string, directory: string): Promise<string> {
    return textAt(await this.ec2.call('RegisterImage', { Name: name, ImageLocation: directory }), 'imageId');
  }

  /** A VPC with one subnet, an internet gateway and a group that lets in what `ports` name (`-1`: everything). */
  async network(cidr: string, open: '-1' | readonly number[]): Promise<Network> {
    const vpcId = textAt(await this.ec2.call('CreateVpc', { CidrBlock: cidr }), 'vpc', 'vpcId');
    const subnet = await this.ec2.call('CreateSubnet', {
      VpcId: vpcId,
      CidrBlock: cidr.replace('/16', '/24'),
    });
    const subnetId = textAt(subnet, 'subnet', 'subnetId');
    const gateway = textAt(
      await this.ec2.call('CreateInternetGateway'),
      'internetGateway',
      'internetGatewayId',
    );
    await this.ec2.call('AttachInternetGateway', { VpcId: vpcId, InternetGatewayId: gateway });
    const tables = await this.ec2.call('DescribeRouteTables', {
      'Filter.1.Name': 'vpc-id',
      'Filter.1.Value.1': vpcId,
    });
    await this.ec2.call('CreateRoute', {
      RouteTableId: textAt(itemsAt(tables, 'routeTableSet')[0] ?? tables, 'routeTableId'),
      DestinationCidrBlock: '0.0.0.0/0',
      GatewayId: gateway,
    });
    await this.ec2.call('ModifySubnetAttribute', { SubnetId: subnetId, 'MapPublicIpOnLaunch.Value': 'true' });
    const group = await this.ec2.call('CreateSecurityGroup', {
      GroupName: 'test',
      GroupDescription: 'what the test opens',
      VpcId: vpcId,
    });
    const groupId = textAt(group, 'groupId');
    if (open === '-1') await this.permit('Authorize', groupId, { protocol: '-1' });
    else for (const port of open) await this.permit('Authorize', groupId, { protocol: 'tcp', port });
    return { vpcId, subnetId, groupId };
  }

  /** Lets something in from everywhere, or no longer. */
  async permit(
    verb: 'Authorize' | 'Revoke',
    groupId: string,
    what: { readonly protocol: string; readonly port?: number },
  ): Promise<void> {
    const range = what.protocol === 'icmp' ? '-1' : what.port;
    const ports: Record<string, string> =
      range === undefined
        ? {}
        : { 'IpPermissions.1.FromPort': String(range), 'IpPermissions.1.ToPort': String(range) };
    await this.ec2.call(`${verb}SecurityGroupIngress`, {
      GroupId: groupId,
      'IpPermissions.1.IpProtocol': what.protocol,
      ...ports,
      'IpPermissions.1.IpRanges.1.CidrIp': '0.0.0.0/0',
    });
  }

  /** Asks for VMs and returns their ids at once. */
  async launch(options: LaunchOptions): Promise<string[]> {
    const count = String(options.count ?? 1);
    const answer = await this.ec2.call('RunInstances', {
      ImageId: options.imageId ?? (await this.image()),
      InstanceType: options.type ?? typeDefault,
      MinCount: count,
      MaxCount: count,
      KeyName: this.#keyName,
      SubnetId: options.network.subnetId,
      'SecurityGroupId.1': options.network.groupId,
      ...(options.userData !== undefined && {
        UserData: Buffer.from(options.userData).toString('base64'),
      }),
    });
    const ids = itemsAt(answer, 'instancesSet').map((item) => textAt(item, 'instanceId'));
    for (const id of ids) this.#launched.add(id);
    return ids;
  }

  async describe(instanceIds: readonly string[]): Promise<Vm[]> {
    const named = Object.fromEntries(instanceIds.map((id, at) => [`InstanceId.${at + 1}`, id]));
    const answer = await this.ec2.call('DescribeInstances', named);
    return itemsAt(answer, 'reservationSet').flatMap((each) => itemsAt(each, 'instancesSet').map(vmOf));
  }

  async vm(instanceId: string): Promise<Vm> {
    const [found] = await this.describe([instanceId]);
    if (found === undefined) throw new Error(`${instanceId} is not described`);
    return found;
  }

  /** Waits until all are in `state`; one that goes another way (terminated instead of running) ends the wait. */
  async reach(state: string, instanceIds: readonly string[]): Promise<Vm[]> {
    const vms = await until(`${instanceIds.join(' ')} to be ${state}`, async () => {
      const now = await this.describe(instanceIds);
      if (state === 'running' && now.some((vm) => vm.state === 'terminated')) return now;
      return now.length === instanceIds.length && now.every((vm) => vm.state === state) && now;
    });
    const failed = vms.find((vm) => vm.state !== state);
    if (failed !== undefined)
      throw new Error(`${failed.instanceId} became ${failed.state} instead of ${state}: ${failed.reason}`);
    return vms;
  }

  /** Launches and waits until the VM is running and lets us in by its public address. */
  async start(options: LaunchOptions): Promise<{ vm: Vm; guest: Guest }[]> {
    const vms = await this.reach('running', await this.launch(options));
    return Promise.all(
      vms.map(async (vm) => {
        const found = vm.publicIp === '' ? { ...vm, publicIp: await this.giveAddress(vm.instanceId) } : vm;
        return { vm: found, guest: await new Guest(found.publicIp, this.keyFile).ready() };
      }),
    );
  }

  /** Allocates an elastic address and puts it on the instance. */
  async giveAddress(instanceId: string): Promise<string> {
    const allocated = await this.ec2.call('AllocateAddress', { Domain: 'vpc' });
    await this.ec2.call('AssociateAddress', {
      AllocationId: textAt(allocated, 'allocationId'),
      InstanceId: instanceId,
    });
    return textAt(allocated, 'publicIp');
  }

  async terminate(instanceIds: readonly string[]): Promise<void> {
    if (instanceIds.length === 0) return;
    await this.ec2.call(
      'TerminateInstances',
      Object.fromEntries(instanceIds.map((id, at) => [`InstanceId.${at + 1}`, id])),
    );
    await this.reach('terminated', instanceIds);
    for (const id of instanceIds) this.#launched.delete(id);
  }

  /** Terminates what was launched here and still is there. */
  async empty(): Promise<void> {
    await this.terminate([...this.#launched]);
  }
}
