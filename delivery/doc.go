// Package delivery says what a note is, what the store and a chat service must
// do, and holds the worker that leases jobs, sends, backs off and fails over.
//
// In: a draft that was rendered. Out: a receipt from a chat service, or a dead
// job that an operator is told of. The store is in delivery/store, each chat
// service is one file in delivery/channel; both implement what is declared
// here.
package delivery
