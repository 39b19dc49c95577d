"""What cards do that misbehave, one module for each way; `cardos.faults` names them."""
