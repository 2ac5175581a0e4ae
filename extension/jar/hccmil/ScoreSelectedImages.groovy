package hccmil

import javafx.scene.control.Alert
import javafx.scene.control.ButtonType
import qupath.lib.gui.dialogs.ProjectDialogs

/** Scores images that the user chooses; those selected in the project's list are preselected. */
class ScoreSelectedImages extends Score {
    @Override
    protected List chosen() {
        def list = ProjectDialogs.createImageChoicePane(qupath, qupath.project.imageList, selected(), null)
        list.sourceHeader.text = "Not to be scored"
        list.targetHeader.text = "To be scored"
        def alert = new Alert(Alert.AlertType.CONFIRMATION)
        alert.initOwner(qupath.stage)
        alert.title = Say.TITLE
        alert.headerText = null
        alert.dialogPane.content = list
        alert.resizable = true
        if (alert.showAndWait().orElse(null) != ButtonType.OK) return []
        list.targetItems as List
    }

    /** Images that are selected in QuPath's tab Project; none if QuPath does not show them. */
    private List selected() {
        def tree = qupath.stage.scene.root.lookupAll(".tree-view").find { view ->
            view.root?.value?.class?.name?.contains("ProjectTreeRow")
        }
        if (tree == null) return []
        def images = qupath.project.imageList.collectEntries { [it.ID, it] }
        tree.selectionModel.selectedItems.collectMany { item -> below(item) }
            .collect { row -> row.metaClass.respondsTo(row, "getEntry") ? row.entry : null }
            .findAll { it != null }.collect { images[it.ID] }.unique()
    }

    private static List below(item) {
        item == null ? [] : [item.value] + item.children.collectMany { below(it) }
    }
}
