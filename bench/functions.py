import contestants


class Function(contestants.Contestant):
    def start(self):
        raise contestants.Missing('not yet')

    def stop(self):
        return []


class Resident(Function):
    pass


class Oneshot(Function):
    pass
