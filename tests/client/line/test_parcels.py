"""What the site notes about messages survives a restart, and nonsense does not stop it."""

from flwr.proto.message_pb2 import Metadata, ObjectTree

from client.line.parcels import Note, Parcels


def note(number: int, *, created_at: float = 0.0) -> Note:
    name = f"{number:064x}"
    tree = ObjectTree(object_id=name, children=[ObjectTree(object_id="child")])
    return Note(Metadata(message_id=name, run_id=2**64 - 1, dst_node_id=5, created_at=created_at), tree)


def test_notes_come_back_oldest_first(tmp_path):
    parcels = Parcels(tmp_path / "parcels")
    late, early = note(1, created_at=9.0), note(2, created_at=3.0)
    parcels.keep(late)
    parcels.keep(early)
    assert Parcels(tmp_path / "parcels").open() == [early, late]
    parcels.forget(early.id)
    parcels.forget(early.id)
    assert parcels.open() == [late]


def test_a_torn_note_is_removed(tmp_path):
    parcels = Parcels(tmp_path)
    (tmp_path / "torn.note").write_bytes(b"\xff\xff\xff")
    (tmp_path / "empty.note").touch()
    parcels.keep(note(1))
    assert parcels.open() == [note(1)]
    assert len(list(tmp_path.iterdir())) == 1


def test_an_upload_is_resumed_from_its_last_whole_line(tmp_path):
    parcels = Parcels(tmp_path)
    parcels.keep(note(1))
    assert parcels.upload(note(1).id) is None
    parcels.begin_upload(note(1).id, root="root", session="session")
    parcels.note_object(note(1).id, "a")
    upload = Parcels(tmp_path).upload(note(1).id)
    assert (upload.root, upload.session) == ("root", "session")
    assert upload.done >= {"a"}
    parcels.begin_upload(note(1).id, root="root", session="another")
    assert "a" not in parcels.upload(note(1).id).done
    parcels.forget(note(1).id)
    assert list(tmp_path.iterdir()) == []


def test_a_torn_upload_note_counts_as_none(tmp_path):
    parcels = Parcels(tmp_path)
    parcels.begin_upload(note(1).id, root="root", session="session")
    (tmp_path / f"{note(1).id}.upload").write_text('["root"')
    assert parcels.upload(note(1).id) is None


def test_notes_are_for_their_owner_alone(tmp_path):
    parcels = Parcels(tmp_path / "parcels")
    parcels.keep(note(1))
    assert (tmp_path / "parcels").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "parcels").iterdir()} == {0o600}
