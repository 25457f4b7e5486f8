print("minimind")
