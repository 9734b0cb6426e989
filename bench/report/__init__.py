"""What is shown of a result: in the terminal, as a page, and beside another one."""
