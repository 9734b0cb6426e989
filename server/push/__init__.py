"""Push notifications: what stands in the outbox is handed to the provider.

`outcomes` says what an answer means and when to try again, `onesignal` asks the provider, `worker`
takes rows from the outbox and notes what became of them.
"""
