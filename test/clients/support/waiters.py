"""Every waiter and every paginator that botocore knows of EC2, as far as the region has the action."""

import os
import sys

import boto3
from botocore.exceptions import ClientError, WaiterError

ec2 = boto3.client("ec2", endpoint_url=os.environ["ENDPOINT"])
FAST = {"Delay": 1, "MaxAttempts": 60}


def expect(what, holds):
    if not holds:
        sys.exit(f"{what}: is not so")
    print(what)


made = ec2.run_instances(ImageId=os.environ["IMAGE"], InstanceType="t3.micro", MinCount=3, MaxCount=3)
ids = [each["InstanceId"] for each in made["Instances"]]
key = ec2.create_key_pair(KeyName="waited")
group = ec2.create_security_group(GroupName="waited", Description="of the waiters")
vpc = ec2.create_vpc(CidrBlock="10.30.0.0/16")["Vpc"]["VpcId"]
subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.30.0.0/24")["Subnet"]["SubnetId"]
gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]

inputs = {
    "instance_exists": {"InstanceIds": ids},
    "instance_running": {"InstanceIds": ids},
    "instance_status_ok": {"InstanceIds": ids},
    "system_status_ok": {"InstanceIds": ids},
    "image_available": {"ImageIds": [os.environ["IMAGE"]]},
    "image_exists": {"ImageIds": [os.environ["IMAGE"]]},
    "internet_gateway_exists": {"InternetGatewayIds": [gateway]},
    "key_pair_exists": {"KeyNames": ["waited"]},
    "security_group_exists": {"GroupIds": [group["GroupId"]]},
    "subnet_available": {"SubnetIds": [subnet]},
    "vpc_available": {"VpcIds": [vpc]},
    "vpc_exists": {"VpcIds": [vpc]},
    "network_interface_available": {"NetworkInterfaceIds": ["eni-0ffffffffffffffff"]},
    "nat_gateway_deleted": {"NatGatewayIds": ["nat-0ffffffffffffffff"]},
    "vpc_peering_connection_deleted": {"VpcPeeringConnectionIds": ["pcx-0ffffffffffffffff"]},
    "volume_deleted": {"VolumeIds": ["vol-0ffffffffffffffff"]},
}
# What these wait for cannot be made here; they must end by an error of EC2's that a program can tell, or by a missing thing.
ends_in_error = {
    "network_interface_available",
    "bundle_task_complete",
    "conversion_task_cancelled",
    "conversion_task_completed",
    "conversion_task_deleted",
    "customer_gateway_available",
    "export_task_cancelled",
    "export_task_completed",
    "nat_gateway_available",
    "password_data_available",
    "security_group_vpc_association_associated",
    "security_group_vpc_association_disassociated",
    "snapshot_completed",
    "snapshot_imported",
    "spot_instance_request_fulfilled",
    "store_image_task_complete",
    "volume_available",
    "volume_in_use",
    "vpc_peering_connection_exists",
    "vpn_connection_available",
    "vpn_connection_deleted",
}
more = {
    "password_data_available": {"InstanceId": ids[0]},
    "nat_gateway_available": {"NatGatewayIds": ["nat-0ffffffffffffffff"]},
    "volume_available": {"VolumeIds": ["vol-0ffffffffffffffff"]},
    "volume_in_use": {"VolumeIds": ["vol-0ffffffffffffffff"]},
    "snapshot_completed": {"SnapshotIds": ["snap-0ffffffffffffffff"]},
    "snapshot_imported": {"ImportTaskIds": ["import-snap-0ffffffffffffffff"]},
    "spot_instance_request_fulfilled": {"SpotInstanceRequestIds": ["sir-0ffffff1"]},
    "vpc_peering_connection_exists": {"VpcPeeringConnectionIds": ["pcx-0ffffffffffffffff"]},
}
last = ["instance_stopped", "instance_terminated"]

for name in ec2.waiter_names:
    if name in last:
        continue
    waiter = ec2.get_waiter(name)
    if name in ends_in_error:
        try:
            waiter.wait(**more.get(name, {}), WaiterConfig={"Delay": 1, "MaxAttempts": 1})
            print(f"waiter {name}: nothing to wait for")
        except WaiterError as error:
            print(f"waiter {name}: {error}")
        except Exception as error:
            sys.exit(f"waiter {name}: {type(error).__name__}: {error}")
    elif name in inputs:
        waiter.wait(**inputs[name], WaiterConfig=FAST)
        print(f"waiter {name}")
    else:
        sys.exit(f"the waiter {name} is not known here: say in this file what it should do")

ec2.stop_instances(InstanceIds=ids[:1])
ec2.get_waiter("instance_stopped").wait(InstanceIds=ids[:1], WaiterConfig=FAST)
print("waiter instance_stopped")

answered, refused = 0, []
model = ec2.meta.service_model
methods = ec2.meta.method_to_api_mapping
for name in sorted(methods):
    if not ec2.can_paginate(name):
        continue
    shape = model.operation_model(methods[name]).input_shape
    required = shape.required_members if shape else []
    arguments = {member: vpc if "Vpc" in member else ids[0] for member in required if shape.members[member].type_name == "string"}
    for member in required:
        kind = shape.members[member].type_name
        if kind == "list":
            arguments[member] = []
        elif kind == "structure":
            arguments[member] = {}
        elif kind in ("integer", "long"):
            arguments[member] = 1
        elif kind == "timestamp":
            arguments[member] = "2024-01-01T00:00:00Z"
        elif kind == "boolean":
            arguments[member] = False
    try:
        pages = list(ec2.get_paginator(name).paginate(**arguments, PaginationConfig={"PageSize": 5, "MaxItems": 200}))
        answered += 1
        print(f"paginator {name}: {len(pages)} pages")
    except ClientError as error:
        refused.append(name)
        code = error.response["Error"]["Code"]
        print(f"paginator {name}: {code}: {error.response['Error']['Message']}")
        if code not in ("UnsupportedOperation", "MissingParameter", "InvalidParameterCombination"):
            sys.exit(f"paginator {name}: {error}")
    except Exception as error:
        print(f"paginator {name} cannot be called: {type(error).__name__} {error}")
expect("paginators that walk", answered > 20)
walked = [i["InstanceId"] for p in ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}) for r in p["Reservations"] for i in r["Instances"]]
expect("instances are walked once each", len(walked) == len(set(walked)) and set(ids) <= set(walked))
types = [t["InstanceType"] for p in ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 5}) for t in p["InstanceTypes"]]
expect("types are walked once each", len(types) == len(set(types)) > 5)

ec2.terminate_instances(InstanceIds=ids)
ec2.get_waiter("instance_terminated").wait(InstanceIds=ids, WaiterConfig=FAST)
print("waiter instance_terminated")
