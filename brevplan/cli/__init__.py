"""How a person talks to brevplan: click commands of a few lines over `brevplan.operations`."""
