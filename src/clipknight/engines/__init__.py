"""Where work in many equal parts is done: in this process, or by Ray on this machine or a cluster."""
