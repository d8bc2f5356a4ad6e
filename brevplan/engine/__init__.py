"""How plans are made and carried out. It knows no cloud and no database.

config     syntax trees        -> Config        what is declared, structure checked
refresh    accounts + state    -> Observed      one list an account (async)
expand     Config, one block   -> instances     count and for_each
plan       the fold            -> Plan          evaluate, diff, publish the planned value
graph      Plan                -> Steps         and their order
apply      Steps               -> Events        create, update, stop, start, destroy (async)
"""
