"""The extension in QuPath's own window: there, and with its command."""

import pytest

import qupath_hccmil
from qupath_hccmil.qupath.extension.jar import menu_entries, write_jar
from tests.extension.conftest import window_dirs

pytestmark = pytest.mark.qupath


@pytest.mark.oldest_and_newest
def test_the_menu_has_every_entry_and_the_version_is_ours(window):
    found = window.wait_for(
        """
        def path = qupath.lib.gui.localization.QuPathResources.getString('Menu.Extensions')
        qupath.getMenu(path + '>HCC-MIL', false)?.items*.text
        """
    )
    assert [title for title in found if title] == list(menu_entries())
    assert window.ask("hccmil.Settings.version()") == qupath_hccmil.__version__
    assert f"HCC-MIL {qupath_hccmil.__version__} is ready" in window.log()


def test_a_translated_qupath_has_the_menu_under_its_own_word(window):
    if window.qupath != window_dirs()[-1]:
        pytest.skip("only the newest QuPath speaks German")
    assert window.ask("Locale.getDefault(Locale.Category.FORMAT).language") == "de"
    assert "Erweiterungen" in window.ask("qupath.menuBar.menus*.text")
    assert "Extensions" not in window.ask("qupath.menuBar.menus*.text")


@pytest.mark.oldest_and_newest
def test_the_preferences_name_the_command_and_test_it(window, program):
    shown = window.ask(
        "qupath.preferencePane.propertySheet.items.findAll { it.category == 'HCC-MIL' }*.name"
    )
    assert shown == ["Command", "Test the command"]
    window.later(
        """
        def sheet = qupath.preferencePane.propertySheet
        def item = sheet.items.find { it.name == 'Test the command' }
        sheet.propertyEditorFactory.call(item).editor.fire()
        """
    )
    said = window.wait_for_dialog("risk model")["text"]
    assert str(program) in said
    assert f"qupath-hccmil: {qupath_hccmil.__version__}" in said
    assert "MISSING" not in said
    assert "of version" not in said
    window.press("OK")


def test_a_command_that_is_not_there_is_a_dialog_that_says_what_to_do(window):
    window.ask("hccmil.Settings.COMMAND.set('/not there/qupath-hccmil'); null")
    try:
        window.click("Check the command…")
        said = window.wait_for_dialog("/not there/qupath-hccmil")["text"]
        assert "Edit > Preferences > HCC-MIL" in said
        window.press("OK")
    finally:
        window.ask("hccmil.Settings.COMMAND.set(''); null")


def test_a_jar_that_is_dropped_on_the_window_gives_the_menu(window_without, program, tmp_path):
    jar = write_jar(tmp_path)
    # QuPath's own way with a file that is dropped
    window_without.later(
        """
        new qupath.lib.gui.viewer.DragDropImportListener(qupath)
            .handleFileDrop(qupath.viewer, [new File(jar)])
        """,
        jar=str(jar),
    )
    dropped = window_without.extensions / jar.name
    window_without.wait_for(
        "new File(file).length() == length", file=str(dropped), length=jar.stat().st_size
    )
    # QuPath 0.7 may look into the jar before it is complete, and then needs a restart
    window_without.restart()
    window_without.wait_for("hccmil.Watch.instance != null")
    # it does not know where the command is; the folder that contains it is enough
    window_without.ask("hccmil.Settings.COMMAND.set(folder); null", folder=str(program.parent))
    window_without.click("Check the command…")
    assert str(program) in window_without.wait_for_dialog("risk model")["text"]
