import pytest

from edgehff import recipe
from edgehff.errors import RecipeError
from edgehff.geometry import ConvLayer
from edgehff.recipe import AugmentRecipe, EncoderRecipe, Recipe


def write(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_a_file_gives_every_field(tmp_path):
    path = write(
        tmp_path,
        'layers = [64, 32]\narith = "int8"\ngate = "off"\nlr = 1\n'
        'join = "weighted"\njoin_weights = [1, 0.5]\n'
        '[encoder]\nfeatures = ["mav"]\nsegments = 5\nlog = true\n',
    )
    assert recipe.load(path) == Recipe(
        layers=(64, 32),
        arith="int8",
        gate=None,
        lr=1.0,
        join="weighted",
        join_weights=(1.0, 0.5),
        encoder=EncoderRecipe(features=("mav",), segments=5, log=True),
    )


def test_to_dict_and_back_is_the_same():
    original = Recipe(layers=(7,), gate=None, encoder=EncoderRecipe(features=("wl", "rms"), bias=3))
    assert recipe.from_dict(original.to_dict()) == original


def test_tables_of_convolutions_and_back(tmp_path):
    path = write(
        tmp_path,
        "input_shape = [1, 40, 3]\n[[conv]]\nchannels = 8\nkernel = [1, 5]\npadding = [0, 2]\n"
        "stride = [1, 2]\n"
        '[[conv]]\nchannels = 8\nkind = "depthwise"\nkernel = 1\npadding = 0\npool = "mean"\n'
        "pool_size = [1, 2]\ngrid = [1, 4]\n[augment]\nflip = true\nwarp = 2\nshift = 3\ncutout = 4\n",
    )
    made = recipe.load(path)
    assert made == Recipe(
        layers=(),
        input_shape=(1, 40, 3),
        conv=(
            ConvLayer(8, kernel=(1, 5), padding=(0, 2), stride=(1, 2)),
            ConvLayer(
                8, kind="depthwise", kernel=(1, 1), padding=(0, 0), pool="mean", pool_size=(1, 2), grid=(1, 4)
            ),
        ),
        augment=AugmentRecipe(flip=True, warp=2, shift=3, cutout=4),
    )
    assert recipe.from_dict(made.to_dict()) == made
    assert made.text == "8c1x5 stride1x2 -> 8dw1 mean1x2 grid1x4"
    assert made.replace(layers=(9, 5)).text.endswith(" -> 9 -> 5")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("layer = [3]", "unknown key layer", "did you mean layers?"),
        ("[encoder]\nsegmnts = 3", "unknown key encoder.segmnts", "did you mean encoder.segments?"),
        ("qqq = 3", "unknown key qqq", "known keys: layers"),
        ('layers = "64"', "is no list", "layers ="),
        ("layers = [64.5]", "is no list", "layers ="),
        ("layers = []", "0 layers", "layers ="),
        ("layers = [0]", "layers holds 0", "layers ="),
        ("layers = [65537]", "layers holds 65537", "layers ="),
        ("epochs = 2.5", "is no int", "epochs ="),
        ("epochs = true", "is no int", "epochs ="),
        ("cap = 1", "is no bool", "cap ="),
        ("scale = nan", "not finite", "scale ="),
        ("lr = inf", "not finite", "lr ="),
        ("lr = -0.1", "lr = -0.1 lies outside", "recipe.md"),
        ("seed = -1", "seed = -1 lies outside", "recipe.md"),
        ("lr_prototypes = 0.6", "lies outside 0 to 0.5", "recipe.md"),
        ("gate = 3", "gate = 3.0 lies outside", 'gate = "off"'),
        ('arith = "int9"', "is none of int8, int16", "arith = 'int8'"),
        ('join = "weighted"', "0 entries for 2 layers", "join_weights = [1.0, 1.0]"),
        ('join = "weighted"\njoin_weights = [1, 9]', "join_weights holds 9", "join_weights"),
        ('[encoder]\nfeatures = ["mavv"]', "encoder.features = 'mavv'", "'mav'"),
        ("[encoder]\nbias = 40000", "does not fit int16", "bias = 0"),
        ('[encoder]\nfeatures = ["mav", "mav"]', "names one twice", "features ="),
        (f"lr = {10**400}", "is no float", "lr ="),
        (f"epochs = {10**400}", "lies outside", "recipe.md"),
        ("encoder = 3", "not a table", "[encoder]"),
        ("layers = [3", "is not TOML", "recipe.md"),
    ],
)
def test_a_bad_recipe_says_what_and_what_next(tmp_path, text, message, hint):
    with pytest.raises(RecipeError) as caught:
        recipe.load(write(tmp_path, text))
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path):
    with pytest.raises(RecipeError, match="cannot read"):
        recipe.load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="is not TOML"):
        recipe.load(tmp_path / "binary.toml")


def test_the_core_gets_integers():
    c = Recipe(
        layers=(5, 3), scale=12.0, margin=0.25, gate=0.5, lr=0.5, lr_prototypes=0.4, seed=9
    ).core_config(8, 4)
    assert c.dims == (8, 5, 3)
    assert (c.kappa, c.margin, c.gate, c.lr_w, c.lr_p, c.seed) == (17728, 4096, 8192, 32768, 6554, 9)
    assert Recipe(gate=None).core_config(8, 4).gate == 65535


def test_weights_of_zero_throughout_join_nothing():
    with pytest.raises(RecipeError, match="0 throughout"):
        Recipe(layers=(4, 3), join="weighted", join_weights=(0.0, 0.001))
