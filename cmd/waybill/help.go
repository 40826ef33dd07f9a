package main

import "github.com/alecthomas/kong"

type helpCmd struct {
	Command []string `arg:"" optional:"" help:"The command to explain."`
}

func (c helpCmd) Run(a *app) error {
	if a.Output == "json" {
		return a.print(tree(a.kong.Model.Node), nil, nil)
	}
	_, err := a.kong.Parse(append(c.Command, "--help"))
	if err != nil {
		return usage(err)
	}
	return nil
}

// command is one node of the command tree, for scripts.
type command struct {
	Name     string        `json:"name"`
	Help     string        `json:"help"`
	Flags    []commandFlag `json:"flags,omitempty"`
	Commands []command     `json:"commands,omitempty"`
}

type commandFlag struct {
	Name    string `json:"name"`
	Help    string `json:"help"`
	Default string `json:"default,omitempty"`
}

func tree(n *kong.Node) command {
	c := command{Name: n.Name, Help: n.Help}
	for _, f := range n.Flags {
		c.Flags = append(c.Flags, commandFlag{f.Name, f.Help, f.Default})
	}
	for _, child := range n.Children {
		c.Commands = append(c.Commands, tree(child))
	}
	return c
}
