// A VM's life through AWS's SDK for Go, version 1: launch, describe, tag, stop, start, terminate.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/awserr"
	"github.com/aws/aws-sdk-go/aws/request"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/ec2"
)

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
	config := aws.NewConfig().WithEndpoint(os.Getenv("ENDPOINT")).WithRegion(os.Getenv("AWS_REGION"))
	ctx := aws.BackgroundContext()
	everySecond := request.WithWaiterDelay(request.ConstantWaiterDelay(time.Second))
	atMost := request.WithWaiterMaxAttempts(120)
	client := ec2.New(session.Must(session.NewSession(config)))
	made, err := client.RunInstances(&ec2.RunInstancesInput{
		ImageId: aws.String(os.Getenv("IMAGE")), InstanceType: aws.String("t3.micro"),
		MinCount: aws.Int64(1), MaxCount: aws.Int64(1),
	})
	check("launch", err)
	ids := []*string{made.Instances[0].InstanceId}
	one := &ec2.DescribeInstancesInput{InstanceIds: ids}
	check("running", client.WaitUntilInstanceRunningWithContext(ctx, one, everySecond, atMost))
	_, err = client.CreateTags(&ec2.CreateTagsInput{Resources: ids, Tags: []*ec2.Tag{{Key: aws.String("Name"), Value: aws.String("go <&> v1")}}})
	check("tag", err)
	described, err := client.DescribeInstances(one)
	check("describe", err)
	instance := described.Reservations[0].Instances[0]
	expect("its tag", *instance.Tags[0].Value == "go <&> v1")
	expect("its launch time", !instance.LaunchTime.IsZero())
	_, err = client.StopInstances(&ec2.StopInstancesInput{InstanceIds: ids})
	check("stop", err)
	check("stopped", client.WaitUntilInstanceStoppedWithContext(ctx, one, everySecond, atMost))
	_, err = client.StartInstances(&ec2.StartInstancesInput{InstanceIds: ids})
	check("start", err)
	check("started", client.WaitUntilInstanceRunningWithContext(ctx, one, everySecond, atMost))
	_, err = client.TerminateInstances(&ec2.TerminateInstancesInput{InstanceIds: ids})
	check("terminate", err)
	check("terminated", client.WaitUntilInstanceTerminatedWithContext(ctx, one, everySecond, atMost))
	pages := 0
	check("pages", client.DescribeInstanceTypesPages(&ec2.DescribeInstanceTypesInput{MaxResults: aws.Int64(5)},
		func(page *ec2.DescribeInstanceTypesOutput, last bool) bool { pages++; return true }))
	expect("several pages", pages > 1)
	_, err = client.TerminateInstances(&ec2.TerminateInstancesInput{InstanceIds: []*string{aws.String("i-0ffffffffffffffff")}})
	coded, ok := err.(awserr.Error)
	expect("an unknown VM is told by its code", ok && coded.Code() == "InvalidInstanceID.NotFound")
}
