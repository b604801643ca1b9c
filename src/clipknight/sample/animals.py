"""The animals of the built-in sample, one short drawing each; see objects."""

from clipknight.sample.pen import BEAK, GLASS, GOLD, INK, PAPER, ROSE, Colour, Pen, shade


def eye(p: Pen, x, y, r=3.0):
    p.oval(INK, x, y, r)
    p.oval(PAPER, x + 0.3 * r, y - 0.35 * r, 0.38 * r)


def legs(p: Pen, c: Colour, *xs):
    for x in xs:
        p.box(c, x - 4, 64, x + 4, 97, 3)


def cat(p: Pen, c: Colour):
    p.line(shade(c, 0.85), 7.5, (62, 90), (86, 90), (92, 68), (84, 52))
    p.blob(c, (50, 42), (67, 60), (74, 88), (50, 97), (26, 88), (33, 60))
    p.oval(shade(c, 1.45), 50, 74, 11, 17)
    for _ in p.sides():
        p.poly(c, (74, 3), (73, 30), (55, 16))
        p.poly(ROSE, (71, 9), (70, 20), (61, 16))
        p.oval(shade(c, 0.93), 61, 94, 9, 4.5)
    p.oval(c, 50, 32, 25, 20)
    for _ in p.sides():
        p.oval((176, 204, 92), 60, 30, 4.5, 5)
        p.oval(INK, 60, 30, 1.8, 4.5)
        for y in (37, 42):
            p.line(PAPER if sum(c) < 300 else INK, 0.8, (58, 40), (84, y))
    p.poly(ROSE, (46.5, 37), (53.5, 37), (50, 41))
    p.line(INK, 1.2, (43, 44), (47, 45), (50, 41), (53, 45), (57, 44))


def dog(p: Pen, c: Colour):
    p.line(c, 7, (14, 56), (5, 40), (8, 28))
    legs(p, shade(c, 0.78), 26, 66)
    p.blob(c, (10, 52), (40, 45), (70, 44), (74, 66), (40, 72), (13, 70))
    legs(p, c, 17, 57)
    p.blob(c, (58, 58), (60, 28), (74, 30), (75, 60))
    p.oval(c, 70, 28, 15, 14)
    p.blob(shade(c, 1.3), (74, 24), (94, 27), (97, 34), (90, 40), (74, 39))
    p.oval(INK, 95, 28, 3.5, 3)
    p.line(ROSE, 3.5, (86, 40), (87, 46))
    p.blob(shade(c, 0.6), (62, 14), (69, 22), (66, 46), (57, 48), (54, 28))
    eye(p, 77, 23)
    p.line((196, 52, 48), 4.5, (57.5, 50), (66, 53), (74.5, 48))
    p.oval(GOLD, 69, 56, 3)


def duck(p: Pen, c: Colour):
    p.blob(c, (3, 50), (20, 58), (50, 56), (72, 60), (76, 78), (56, 95), (24, 93), (8, 74))
    p.blob(c, (52, 64), (56, 40), (74, 40), (76, 70))
    p.oval(c, 66, 30, 17)
    p.blob(BEAK, (80, 28), (98, 32), (98, 37), (80, 40))
    p.line(shade(BEAK, 0.6), 1, (81, 35), (96, 35))
    p.blob(shade(c, 0.86), (24, 64), (50, 64), (56, 74), (40, 84), (16, 78))
    eye(p, 71, 26)


def whale(p: Pen, c: Colour):
    for x in (64, 72):
        p.line(GLASS, 3, (68, 36), (x, 16), (3.5 * (x - 68) + 68, 17))
    p.blob(c, (14, 34), (0, 28), (6, 18), (16, 24), (28, 14), (32, 24), (20, 36))
    p.blob(c, (13, 32), (22, 34), (34, 52), (56, 38), (84, 40), (97, 62), (84, 86), (50, 90), (22, 74), (12, 48))
    p.blob(shade(c, 1.65), (97, 66), (86, 85), (56, 90), (36, 80), (60, 80), (80, 74))
    p.blob(shade(c, 0.8), (56, 72), (68, 74), (60, 90), (48, 92))
    eye(p, 82, 60)


def bird(p: Pen, c: Colour):
    p.poly(shade(c, 0.75), (26, 56), (2, 60), (8, 70), (30, 66))
    p.blob(shade(c, 0.8), (46, 50), (36, 22), (22, 10), (52, 20), (64, 50))
    p.blob(c, (20, 60), (44, 46), (70, 46), (74, 62), (50, 74), (28, 70))
    p.oval(c, 75, 47, 13)
    p.poly(BEAK, (86, 42), (99, 48), (86, 53))
    p.oval(shade(c, 1.5), 60, 66, 13, 6, -8)
    p.blob(shade(c, 0.9), (40, 54), (32, 30), (36, 2), (50, 20), (62, 36), (62, 56))
    for x, y in ((40, 16), (46, 28), (52, 38)):
        p.line(shade(c, 0.6), 1.2, (x, y), (x - 2, y + 16))
    eye(p, 78, 44)


def butterfly(p: Pen, c: Colour):
    for _ in p.sides():
        p.blob(shade(c, 0.82), (50, 50), (80, 52), (88, 72), (74, 90), (56, 72))
        p.blob(c, (50, 50), (62, 24), (84, 6), (98, 16), (90, 46), (70, 56))
        p.oval(shade(c, 1.6), 83, 25, 8.5, 7, -40)
        p.oval(shade(c, 1.6), 74, 70, 6, 8)
        p.oval(INK, 69, 41, 3.5)
        p.line(INK, 1.4, (50, 30), (56, 18), (62, 12))
    p.oval(INK, 50, 54, 3.5, 24)
    p.oval(INK, 50, 30, 4.5)
