// A Varlink client that knows nothing of mtd but the library it is written with: it asks a socket
// what it is, parses the description of its interface, calls Status both ways and reads events.
//
//	varlink_go SOCKET [EVENTS]
//
// It ends with 0 when everything was as Varlink says, and prints what it saw. EVENTS: that many
// events are awaited (0: only the subscription itself).
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/varlink/go/varlink"
	"github.com/varlink/go/varlink/idl"
)

const name = "io.mtd.Manager"

func fail(format string, arguments ...interface{}) {
	fmt.Fprintf(os.Stderr, "varlink_go: "+format+"\n", arguments...)
	os.Exit(1)
}

func check(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

// The library wants interface names in lower case, which Varlink itself does not.
func parse(description string) *idl.IDL {
	parsed, err := idl.New(strings.Replace(description, "interface "+name, "interface io.mtd.manager", 1))
	check(err, "interface description")
	return parsed
}

func introspect(ctx context.Context, connection *varlink.Connection) {
	var vendor, product, version, url string
	var interfaces []string
	check(connection.GetInfo(ctx, &vendor, &product, &version, &url, &interfaces), "GetInfo")
	fmt.Printf("%s %s, interfaces %s\n", product, version, strings.Join(interfaces, " "))
	for _, each := range []string{name, "org.varlink.service"} {
		description, err := connection.GetInterfaceDescription(ctx, each)
		check(err, "GetInterfaceDescription "+each)
		parsed := parse(description)
		fmt.Printf("%s: %d methods, %d types, %d errors\n", each, len(parsed.Methods), len(parsed.Aliases),
			len(parsed.Errors))
	}
}

func callStatus(ctx context.Context, connection *varlink.Connection) {
	var reply struct {
		Pools []struct {
			Name  string `json:"name"`
			State string `json:"state"`
		} `json:"pools"`
	}
	check(connection.Call(ctx, name+".Status", struct{}{}, &reply), "Status")
	for _, pool := range reply.Pools {
		fmt.Printf("pool %s is %s\n", pool.Name, pool.State)
	}
	receive, err := connection.Send(ctx, name+".Status", struct{}{}, varlink.More)
	check(err, "Status with more")
	for replies := 1; ; replies++ {
		flags, err := receive(ctx, &reply)
		check(err, "Status with more")
		if flags&varlink.Continues == 0 {
			fmt.Printf("Status with more: %d replies\n", replies)
			return
		}
	}
}

func checkErrors(ctx context.Context, connection *varlink.Connection) {
	err := connection.Call(ctx, name+".Nothing", struct{}{}, nil)
	if _, is := err.(*varlink.MethodNotFound); !is {
		fail("an unknown method gave %v", err)
	}
	err = connection.Call(ctx, "a.b.Nothing", struct{}{}, nil)
	if _, is := err.(*varlink.InterfaceNotFound); !is {
		fail("an unknown interface gave %v", err)
	}
	err = connection.Call(ctx, name+".Status", map[string]interface{}{"nothing": 1}, nil)
	if invalid, is := err.(*varlink.InvalidParameter); !is || invalid.Parameter != "nothing" {
		fail("an unknown parameter gave %v", err)
	}
}

func readEvents(ctx context.Context, connection *varlink.Connection, wanted int) {
	receive, err := connection.Send(ctx, name+".Events", map[string]interface{}{"follow": true}, varlink.More)
	check(err, "Events")
	for seen := 0; ; {
		var reply struct {
			Events []json.RawMessage `json:"events"`
		}
		flags, err := receive(ctx, &reply)
		check(err, "Events")
		for _, event := range reply.Events {
			fmt.Printf("event %s\n", event)
		}
		seen += len(reply.Events)
		if seen >= wanted {
			fmt.Printf("%d events\n", seen)
			return
		}
		if flags&varlink.Continues == 0 {
			fail("the stream of events ended after %d", seen)
		}
	}
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: varlink_go SOCKET [EVENTS]")
	}
	wanted := 0
	if len(os.Args) > 2 {
		number, err := strconv.Atoi(os.Args[2])
		check(err, "number of events")
		wanted = number
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	connection, err := varlink.NewConnection(ctx, "unix:"+os.Args[1])
	check(err, "connect")
	defer connection.Close()
	introspect(ctx, connection)
	callStatus(ctx, connection)
	checkErrors(ctx, connection)
	readEvents(ctx, connection, wanted)
	fmt.Println("ok")
}
