// A VM's life through AWS's SDK for Go, version 2: launch, describe, tag, stop, start, terminate.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

const patience = 2 * time.Minute

func check(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
	fmt.Println(what)
}

func expect(what string, is bool) {
	if !is {
		check(what, fmt.Errorf("is not so"))
	}
}

func main() {
	ctx := context.Background()
	client := ec2.New(ec2.Options{
		Region:           os.Getenv("AWS_REGION"),
		Credentials:      credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
		EndpointResolver: ec2.EndpointResolverFromURL(os.Getenv("ENDPOINT")),
	})
	made, err := client.RunInstances(ctx, &ec2.RunInstancesInput{
		ImageId: aws.String(os.Getenv("IMAGE")), InstanceType: types.InstanceTypeT3Micro,
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	})
	check("launch", err)
	ids := []string{*made.Instances[0].InstanceId}
	one := &ec2.DescribeInstancesInput{InstanceIds: ids}
	running := ec2.NewInstanceRunningWaiter(client, func(options *ec2.InstanceRunningWaiterOptions) { options.MinDelay = time.Second })
	check("running", running.Wait(ctx, one, patience))
	_, err = client.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("go <&> v2")}}})
	check("tag", err)
	described, err := client.DescribeInstances(ctx, one)
	check("describe", err)
	instance := described.Reservations[0].Instances[0]
	expect("its tag", *instance.Tags[0].Value == "go <&> v2")
	expect("its launch time", !instance.LaunchTime.IsZero())
	_, err = client.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: ids})
	check("stop", err)
	stopped := ec2.NewInstanceStoppedWaiter(client, func(options *ec2.InstanceStoppedWaiterOptions) { options.MinDelay = time.Second })
	check("stopped", stopped.Wait(ctx, one, patience))
	_, err = client.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: ids})
	check("start", err)
	check("started", running.Wait(ctx, one, patience))
	_, err = client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
	check("terminate", err)
	terminated := ec2.NewInstanceTerminatedWaiter(client, func(options *ec2.InstanceTerminatedWaiterOptions) { options.MinDelay = time.Second })
	check("terminated", terminated.Wait(ctx, one, patience))
	pages := 0
	for walk := ec2.NewDescribeInstanceTypesPaginator(client, &ec2.DescribeInstanceTypesInput{MaxResults: aws.Int32(5)}); walk.HasMorePages(); pages++ {
		_, err = walk.NextPage(ctx)
		check("a page", err)
	}
	expect("several pages", pages > 1)
	_, err = client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{"i-0ffffffffffffffff"}})
	var coded smithy.APIError
	expect("an unknown VM is told by its code", errors.As(err, &coded) && coded.ErrorCode() == "InvalidInstanceID.NotFound")
}
