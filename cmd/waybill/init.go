package main

type initCmd struct{}
type migrateCmd struct{}
type runCmd struct{}
type sendCmd struct{}
type statusCmd struct{}
type demoCmd struct{}

func (initCmd) Run(a *app) error    { return nil }
func (migrateCmd) Run(a *app) error { return nil }
func (runCmd) Run(a *app) error     { return nil }
func (sendCmd) Run(a *app) error    { return nil }
func (statusCmd) Run(a *app) error  { return nil }
func (demoCmd) Run(a *app) error    { return nil }
